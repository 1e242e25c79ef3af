//! The grammar of [`Command::syntax`](crate::commands::command::Command::syntax): the text of
//! the documentation, with just as much added as `COMMAND DOCS` needs to report every
//! argument's name, type and version.
//!
//! ```text
//! sequence = { item [ "..." | "...+" ] }        repeated; "...+": the token each time too
//! item     = word                               an argument
//!          | TOKEN word                         an argument after a token
//!          | TOKEN                              a token alone; its name is the token in lower case
//!          | "[" item "]"                       optional
//!          | "(" group ")" | "[" group "]"      a group; in square brackets an optional one
//! group    = [ TOKEN ] name ":" sequence                      all of them
//!          | [ TOKEN ] name ":" item "|" item { "|" item }    one of them
//! word     = name [ ":" type ] [ "@" spec ] attributes        starts with a lower-case letter
//! TOKEN    = upper-case word or 'quoted' [ "=" name ] attributes
//! attributes = [ "#" shown ] [ "^" since ] [ "!" deprecated since ]
//! type     = "int" | "double" | "pattern" | "time" | "string"
//! ```
//!
//! A word without a type is a string; with `@n` and no type it is a key of specification `n`;
//! `key` alone is `key@0`. So `SET` begins `key value [condition: NX | XX] [GET]`.
//!
//! Nothing of this is kept: the text is parsed when somebody asks. A test parses all rows, so
//! [`parse`] cannot fail for one of them.

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any bytes.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Double,
    /// A key.
    Key,
    /// A glob.
    Pattern,
    /// A point in time.
    UnixTime,
    /// A token alone.
    PureToken,
    /// One of its arguments.
    OneOf,
    /// All of its arguments.
    Block,
}

impl Kind {
    /// The name in `COMMAND DOCS`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Key => "key",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::PureToken => "pure-token",
            Kind::OneOf => "oneof",
            Kind::Block => "block",
        }
    }

    /// Whether it consists of arguments.
    pub const fn is_group(self) -> bool {
        matches!(self, Kind::OneOf | Kind::Block)
    }
}

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg<'s> {
    /// Name.
    pub name: String,
    /// Type.
    pub kind: Kind,
    /// Text to show instead of the name.
    pub shown: Option<&'s str>,
    /// Token before it, or the token that it is.
    pub token: Option<&'s str>,
    /// Key specification that finds it.
    pub spec: Option<u8>,
    /// Version that introduced it.
    pub since: Option<&'s str>,
    /// Version that deprecated it.
    pub deprecated: Option<&'s str>,
    /// May be left out.
    pub optional: bool,
    /// May be repeated.
    pub multiple: bool,
    /// The token is repeated with it.
    pub multiple_token: bool,
    /// What it consists of.
    pub args: Vec<Arg<'s>>,
}

impl<'s> Arg<'s> {
    fn new(kind: Kind) -> Arg<'s> {
        Arg {
            name: String::new(),
            kind,
            shown: None,
            token: None,
            spec: None,
            since: None,
            deprecated: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            args: Vec::new(),
        }
    }
}

/// The byte at which a text does not follow the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("syntax text is wrong at byte {0}")]
pub struct Fault(pub usize);

/// Groups in groups; deeper text is refused.
pub const DEPTH_MAX: usize = 12;

/// Parses a syntax text.
///
/// # Errors
/// [`Fault`] if it does not follow the grammar, which no row does.
pub fn parse(text: &str) -> Result<Vec<Arg<'_>>, Fault> {
    let mut p = Parser { text, at: 0, depth: 0 };
    let args = p.sequence()?;
    if p.peek().is_some() { Err(Fault(p.at)) } else { Ok(args) }
}

struct Parser<'s> {
    text: &'s str,
    at: usize,
    depth: usize,
}

impl<'s> Parser<'s> {
    /// The next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        let blanks = rest.iter().take_while(|b| **b == b' ').count();
        self.at += blanks;
        rest.get(blanks).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        self.at += usize::from(hit);
        hit
    }

    /// The text up to the next blank or bracket, without a repetition mark.
    fn atom(&mut self) -> &'s str {
        self.peek();
        let rest = &self.text[self.at..];
        let end = match rest.strip_prefix('\'').and_then(|r| r.find('\'')) {
            Some(quote) => quote + 2,
            None => 0,
        };
        let end = end + rest[end..].find([' ', '(', ')', '[', ']', '|']).unwrap_or(rest.len() - end);
        let end = rest[..end].strip_suffix("...+").or(rest[..end].strip_suffix("...")).map_or(end, str::len);
        &rest[..end]
    }

    fn sequence(&mut self) -> Result<Vec<Arg<'s>>, Fault> {
        let mut args = Vec::new();
        while !matches!(self.peek(), None | Some(b')' | b']' | b'|')) {
            args.push(self.repeated()?);
        }
        Ok(args)
    }

    fn repeated(&mut self) -> Result<Arg<'s>, Fault> {
        let mut arg = self.item()?;
        if self.text[self.at..].starts_with("...") {
            self.at += 3;
            arg.multiple = true;
            if self.text[self.at..].starts_with('+') {
                self.at += 1;
                arg.multiple_token = true;
            }
        }
        Ok(arg)
    }

    fn item(&mut self) -> Result<Arg<'s>, Fault> {
        let square = match self.peek() {
            Some(b'[') => true,
            Some(b'(') => false,
            _ => return self.leaf(),
        };
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Fault(self.at));
        }
        let mut arg = match self.group()? {
            Some(group) => group,
            None if square => self.item()?,
            None => return Err(Fault(self.at)),
        };
        self.depth -= 1;
        arg.optional |= square;
        let close = if square { b']' } else { b')' };
        if self.take(close) { Ok(arg) } else { Err(Fault(self.at)) }
    }

    /// What stands in brackets, if that is a group.
    fn group(&mut self) -> Result<Option<Arg<'s>>, Fault> {
        let begin = self.at;
        let mut head = self.atom();
        let token = match is_token(head) {
            true => {
                self.at += head.len();
                let token = head;
                head = self.atom();
                Some(token)
            }
            false => None,
        };
        let Some(name) = head.strip_suffix(':') else {
            self.at = begin;
            return Ok(None);
        };
        self.at += head.len();
        let mut group = Arg::new(Kind::Block);
        group.token = token.map(|t| t.trim_matches('\''));
        group.name = attributes(name, &mut group).to_owned();
        group.args = self.sequence()?;
        while self.take(b'|') {
            group.kind = Kind::OneOf;
            let mut next = self.sequence()?;
            group.args.append(&mut next);
        }
        if group.args.is_empty() { Err(Fault(self.at)) } else { Ok(Some(group)) }
    }

    fn leaf(&mut self) -> Result<Arg<'s>, Fault> {
        let atom = self.atom();
        if atom.is_empty() {
            return Err(Fault(self.at));
        }
        self.at += atom.len();
        if !is_token(atom) {
            return word(atom).ok_or(Fault(self.at));
        }
        // A token belongs to the word that follows it.
        let plain = atom.ends_with('\'') || !atom.contains(['=', '#', '^', '!']);
        if plain && self.peek().is_some_and(|b| b.is_ascii_lowercase()) {
            let next = self.atom();
            self.at += next.len();
            let mut arg = word(next).ok_or(Fault(self.at))?;
            arg.token = Some(atom.trim_matches('\''));
            return Ok(arg);
        }
        pure_token(atom).ok_or(Fault(self.at))
    }
}

fn is_token(atom: &str) -> bool {
    atom.starts_with(|c: char| c == '\'' || c.is_ascii_uppercase())
}

fn pure_token<'s>(atom: &'s str) -> Option<Arg<'s>> {
    let mut arg = Arg::new(Kind::PureToken);
    let (token, rest) = match atom.strip_prefix('\'') {
        Some(quoted) => quoted.split_once('\'')?,
        None => atom.split_at(atom.find(['=', '#', '^', '!']).unwrap_or(atom.len())),
    };
    let rest = attributes(rest, &mut arg);
    arg.name = rest.strip_prefix('=').map_or_else(|| token.to_ascii_lowercase(), str::to_owned);
    arg.token = Some(token);
    Some(arg)
}

fn word<'s>(atom: &'s str) -> Option<Arg<'s>> {
    let mut arg = Arg::new(Kind::String);
    let rest = attributes(atom, &mut arg);
    let (rest, spec) = match rest.split_once('@') {
        Some((rest, spec)) => (rest, Some(spec.parse().ok()?)),
        None => (rest, None),
    };
    let (name, kind) = match rest.split_once(':') {
        None => (rest, None),
        Some((name, "string")) => (name, Some(Kind::String)),
        Some((name, "int")) => (name, Some(Kind::Integer)),
        Some((name, "double")) => (name, Some(Kind::Double)),
        Some((name, "pattern")) => (name, Some(Kind::Pattern)),
        Some((name, "time")) => (name, Some(Kind::UnixTime)),
        Some(_) => return None,
    };
    arg.name = name.to_owned();
    (arg.kind, arg.spec) = match (kind, spec) {
        (None, None) if name == "key" => (Kind::Key, Some(0)),
        (None, None) => (Kind::String, None),
        (None, spec) => (Kind::Key, spec),
        (Some(kind), spec) => (kind, spec),
    };
    Some(arg)
}

/// Takes the attributes off the end of an atom.
fn attributes<'s>(atom: &'s str, arg: &mut Arg<'s>) -> &'s str {
    let mut rest = atom;
    for (mark, field) in [('!', &mut arg.deprecated), ('^', &mut arg.since), ('#', &mut arg.shown)] {
        if let Some((before, after)) = rest.split_once(mark) {
            *field = Some(after);
            rest = before;
        }
    }
    rest
}

/// The text as people read it: without types, versions and names of groups.
pub fn shown(text: &str) -> String {
    let mut out = String::new();
    if let Ok(args) = parse(text) {
        show_all(&args, " ", &mut out);
    }
    out
}

fn show_all(args: &[Arg<'_>], between: &str, out: &mut String) {
    for (i, arg) in args.iter().enumerate() {
        if i > 0 {
            out.push_str(between);
        }
        show(arg, out);
    }
}

fn show(arg: &Arg<'_>, out: &mut String) {
    let mut body = String::new();
    if let Some(token) = arg.token {
        body.push_str(token);
        if arg.kind != Kind::PureToken {
            body.push(' ');
        }
    }
    match arg.kind {
        Kind::PureToken => {}
        Kind::OneOf => show_all(&arg.args, " | ", &mut body),
        Kind::Block => show_all(&arg.args, " ", &mut body),
        _ => body.push_str(arg.shown.unwrap_or(&arg.name)),
    }
    let again = match (arg.multiple, arg.multiple_token, arg.token) {
        (false, ..) => String::new(),
        (true, ..) if arg.kind == Kind::OneOf => " ...".to_owned(),
        (true, false, Some(token)) => format!(" [{} ...]", body.trim_start_matches(token).trim_start()),
        (true, ..) => format!(" [{body} ...]"),
    };
    let (open, close) = match (arg.optional, arg.kind) {
        (true, _) => ("[", "]"),
        (false, Kind::OneOf) => ("<", ">"),
        _ => ("", ""),
    };
    out.push_str(open);
    out.push_str(&body);
    out.push_str(&again);
    out.push_str(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_of_each_form() {
        let args = parse(
            "key value:string [condition^2.6.12: NX | XX^3.0.0] [LIMIT limit: offset:int count:int] \
             [GET get-pattern:pattern@1#pattern]...+ (data: score:double member)... [STORE destination@2] '*'=auto",
        )
        .expect("test text");
        assert_eq!(args.len(), 8);
        assert_eq!((args[0].kind, args[0].spec), (Kind::Key, Some(0)));
        assert_eq!((args[1].kind, args[1].name.as_str()), (Kind::String, "value"));
        assert_eq!((args[2].kind, args[2].since, args[2].optional), (Kind::OneOf, Some("2.6.12"), true));
        assert_eq!(args[2].args[1].since, Some("3.0.0"));
        assert_eq!((args[3].kind, args[3].token, args[3].args.len()), (Kind::Block, Some("LIMIT"), 2));
        assert!(args[4].multiple && args[4].multiple_token && args[4].optional);
        assert_eq!((args[4].shown, args[4].spec), (Some("pattern"), Some(1)));
        assert!(args[5].multiple && !args[5].optional && args[5].kind == Kind::Block);
        assert_eq!((args[6].kind, args[6].token), (Kind::Key, Some("STORE")));
        assert_eq!((args[7].token, args[7].name.as_str()), (Some("*"), "auto"));
    }

    #[test]
    fn wrong_texts_are_refused() {
        for text in [
            "(",
            ")",
            "[key",
            "(key)",
            "key:float",
            "a | b",
            "[a b]",
            "key@x",
            "(g:)",
            "[[[[[[[[[[[[[a]]]]]]]]]]]]]",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shown_as_people_read_it() {
        let text = "key value [condition: NX | XX] [EX seconds:int] (data: score:double member)...";
        assert_eq!(shown(text), "key value [NX | XX] [EX seconds] score member [score member ...]");
    }
}
