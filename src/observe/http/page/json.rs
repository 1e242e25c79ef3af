//! JSON, written by hand: the frames of the page are small and always alike.

use std::fmt::Write as _;

/// An object that is being written.
pub(super) struct Object<'a> {
    text: &'a mut String,
    empty: bool,
}

/// Writes an object.
pub(super) fn object(text: &mut String, fill: impl FnOnce(&mut Object<'_>)) {
    text.push('{');
    fill(&mut Object { text, empty: true });
    text.push('}');
}

impl Object<'_> {
    fn name(&mut self, name: &str) -> &mut String {
        if !self.empty {
            self.text.push(',');
        }
        self.empty = false;
        string(self.text, name);
        self.text.push(':');
        self.text
    }

    /// A whole number.
    pub fn int(&mut self, name: &str, value: impl TryInto<u64>) -> &mut Self {
        let value = value.try_into().unwrap_or(u64::MAX);
        // Writing to a String cannot fail.
        let _ = write!(self.name(name), "{value}");
        self
    }

    /// A number with two digits; one that JSON does not know is 0.
    pub fn float(&mut self, name: &str, value: f64) -> &mut Self {
        let value = if value.is_finite() { value } else { 0.0 };
        let _ = write!(self.name(name), "{value:.2}");
        self
    }

    /// A text, whatever its bytes are.
    pub fn text(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        string(self.name(name), &String::from_utf8_lossy(value.as_ref()));
        self
    }

    /// An object inside.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        object(self.name(name), fill);
        self
    }

    /// An array of objects.
    pub fn objects<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut Object<'_>, T),
    ) -> &mut Self {
        let text = self.name(name);
        text.push('[');
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            object(text, |inner| fill(inner, item));
        }
        text.push(']');
        self
    }

    /// An array of whole numbers.
    pub fn ints(&mut self, name: &str, items: &[u64]) -> &mut Self {
        let text = self.name(name);
        text.push('[');
        for (i, item) in items.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let _ = write!(text, "{comma}{item}");
        }
        text.push(']');
        self
    }

    /// An array of numbers with two digits.
    pub fn floats(&mut self, name: &str, items: impl IntoIterator<Item = f64>) -> &mut Self {
        let text = self.name(name);
        text.push('[');
        for (i, item) in items.into_iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let _ = write!(text, "{comma}{:.2}", if item.is_finite() { item } else { 0.0 });
        }
        text.push(']');
        self
    }
}

fn string(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            // The two separators end a line for some readers of the stream.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it() {
        let mut text = String::new();
        object(&mut text, |o| {
            o.int("n", 7_usize).float("x", 1.0 / 3.0).float("bad", f64::NAN);
            o.text("t", b"a\"\\\n\x00\xff</script>\xe2\x80\xa8");
            o.object("empty", |_| {}).floats("f", [1.0, 2.5]).floats("none", []);
            o.objects("list", [1_u64, 2], |inner, i| {
                inner.int("i", i);
            });
        });
        assert_eq!(
            text,
            "{\"n\":7,\"x\":0.33,\"bad\":0.00,\"t\":\"a\\\"\\\\\\u000a\\u0000\u{fffd}</script>\\u2028\",\
             \"empty\":{},\"f\":[1.00,2.50],\"none\":[],\"list\":[{\"i\":1},{\"i\":2}]}"
        );
    }
}
