//! What the request parser accepts, refuses and costs, told by example.
//!
//! [`Stream`] plays the connection: it keeps the unfinished tail, feeds large requests and
//! collects what a worker would run. Error texts were compared with redis-server's answers.

use proptest::prelude::*;
use tandem::protocol::limits::LARGE_BULK;
use tandem::protocol::{
    BATCH_MAX, Limits, OutBuf, OwnedRequest, Parser, Progress, ProtocolError, Reply, Requests, fuzz_one,
};

type Request = Vec<Vec<u8>>;

/// A connection's reading side without a socket.
struct Stream {
    limits: Limits,
    parser: Parser,
    found: Requests,
    tail: Vec<u8>,
    large: Option<Box<OwnedRequest>>,
    seen: Vec<Request>,
}

impl Stream {
    fn new(limits: Limits) -> Self {
        let (parser, found) = (Parser::new(), Requests::new());
        Stream { limits, parser, found, tail: Vec::new(), large: None, seen: Vec::new() }
    }

    /// As if `bytes` were received at once.
    fn receive(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        self.tail.extend_from_slice(bytes);
        loop {
            if let Some(mut request) = self.large.take() {
                let used = request.feed(&self.tail)?;
                self.tail.drain(..used);
                if !request.is_complete() {
                    self.large = Some(request);
                    return Ok(());
                }
                self.seen.push(request.into_args());
            }
            let progress = self.parser.parse(&self.tail, &self.limits, &mut self.found);
            for span in &self.found.spans {
                self.seen.push(self.found.slices(&self.tail, span).map(<[u8]>::to_vec).collect());
            }
            let (consumed, done) = match progress? {
                Progress::All { consumed } => (consumed, true),
                Progress::Full { consumed } => (consumed, false),
                Progress::Large { consumed, request } => {
                    self.large = Some(request);
                    (consumed, false)
                }
            };
            self.tail.drain(..consumed);
            if done {
                return Ok(());
            }
        }
    }
}

/// All requests of `bytes`, and the error that ended them.
fn read(bytes: &[u8], piece: usize, limits: Limits) -> (Vec<Request>, Option<ProtocolError>) {
    let mut stream = Stream::new(limits);
    let error = bytes.chunks(piece).find_map(|part| stream.receive(part).err());
    (stream.seen, error)
}

/// The requests as readable text: words joined by `|`.
fn words(bytes: &[u8]) -> Vec<String> {
    let (seen, error) = read(bytes, bytes.len().max(1), Limits::default());
    assert_eq!(error, None);
    seen.iter()
        .map(|request| request.iter().map(|arg| String::from_utf8_lossy(arg)).collect::<Vec<_>>().join("|"))
        .collect()
}

/// The reply to a stream that ends in an error, `""` if it is closed without a word.
fn refusal_with(bytes: &[u8], limits: Limits) -> String {
    let (_, error) = read(bytes, bytes.len(), limits);
    let text = error.unwrap_or_else(|| panic!("{:?} was accepted", bytes.escape_ascii().to_string())).reply();
    let mut out = OutBuf::new();
    if let Some(text) = text {
        Reply::new(&mut out, false).error(text);
    }
    out.to_vec().iter().map(|&byte| char::from(byte)).collect()
}

fn refusal(bytes: &[u8]) -> String {
    refusal_with(bytes, Limits::default())
}

fn encode(request: &[Vec<u8>]) -> Vec<u8> {
    let mut out = OutBuf::new();
    let mut reply = Reply::new(&mut out, false);
    reply.array(request.len());
    request.iter().for_each(|arg| reply.bulk(arg));
    out.to_vec()
}

#[test]
fn arrays_and_inline_commands_share_a_stream() {
    let stream = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\nset k \"a b\"\n*1\r\n$4\r\nPING\r\n";
    assert_eq!(words(stream), ["GET|k", "PING", "set|k|a b", "PING"]);
}

#[test]
fn arguments_may_hold_anything() {
    assert_eq!(words(b"*3\r\n$0\r\n\r\n$2\r\n\r\n\r\n$3\r\n*1\r\r\n"), ["|\r\n|*1\r"]);
}

#[test]
fn lengths_of_one_to_five_digits() {
    for len in [0, 1, 9, 10, 99, 100, 999, 1000, 9999, 10_000, 32_767, 32_768, 99_999] {
        let request = vec![b"ECHO".to_vec(), vec![b'x'; len]];
        let (seen, error) = read(&encode(&request), usize::MAX, Limits::default());
        assert_eq!((seen, error), (vec![request], None), "{len}");
    }
}

/// CVE-2026-27623: an empty request must leave nothing behind that the next one meets.
#[test]
fn empty_requests_leave_no_trace() {
    for empty in ["*0\r\n", "*-1\r\n", "*-9223372036854775808\r\n", "\r\n", "\n", "  \t \r\n"] {
        for ping in ["PING\r\n", "*1\r\n$4\r\nPING\r\n"] {
            let stream = format!("{empty}{ping}{empty}{empty}{ping}");
            for piece in 1..=stream.len() {
                let (seen, error) = read(stream.as_bytes(), piece, Limits::default());
                assert_eq!(error, None);
                assert_eq!(seen, [[b"PING"], [b"PING"]], "{stream:?} in pieces of {piece}");
            }
        }
    }
}

#[test]
fn what_is_refused_and_how() {
    let long = |start: &[u8]| [start, &[b'1'; 70_000]].concat();
    for (stream, reply) in [
        (&b"*+1\r\n$4\r\nPING\r\n"[..], "invalid multibulk length"),
        (b"*01\r\n$4\r\nPING\r\n", "invalid multibulk length"),
        (b"*-0\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*1a\r\n", "invalid multibulk length"),
        (b"* 1\r\n", "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*9223372036854775808\r\n", "invalid multibulk length"),
        (b"*99999999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$+4\r\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$00\r\n", "invalid bulk length"),
        (b"*1\r\n$4x\r\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$9223372036854775807\r\n", "invalid bulk length"),
        (b"*1\r\n$18446744073709551616\r\n", "invalid bulk length"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", "expected '$', got 'f'"),
        (b"*1\r\n:4\r\n", "expected '$', got ':'"),
        (b"*1\r\n\r\n", "expected '$', got ' '"),
        (b"*1\r\n\n\r\n", "expected '$', got ' '"),
        (b"*1\r\n\0\r\n", "expected '$', got ' '"),
        (b"*1\r\n\xff1\r\n", "expected '$', got '\u{ff}'"),
        (b"*1\r\n$4\r\nPINGxx", "invalid CRLF in request"),
        (b"*1\r\n$4\r\nPING\r\r", "invalid CRLF in request"),
        (b"*1\r\n$5\r\nPING\r\n*1\r\n", "invalid CRLF in request"),
        (b"*1\rx$4\r\nPING\r\n", "invalid CRLF in request"),
        (b"*1\r\n$4\rxPING\r\n", "invalid CRLF in request"),
        (b"set \"a\r\n", "unbalanced quotes in request"),
        (b"set 'a'b\r\n", "unbalanced quotes in request"),
        (&long(b"*"), "too big mbulk count string"),
        (&long(b"*1\r\n$"), "too big bulk count string"),
        (&long(b"PING"), "too big inline request"),
        (&long(b"PING\0\r\n"), "too big inline request"),
    ] {
        let name = stream[..stream.len().min(40)].escape_ascii().to_string();
        assert_eq!(refusal(stream), format!("-ERR Protocol error: {reply}\r\n"), "{name}");
    }
}

#[test]
fn a_browser_is_cut_off_without_a_word() {
    for stream in ["POST / HTTP/1.1\r\nPING\r\n", "host: localhost\r\n", "\"POST\" x\r\n"] {
        assert_eq!(
            read(stream.as_bytes(), 1000, Limits::default()),
            (vec![], Some(ProtocolError::SecurityAttack))
        );
        assert_eq!(refusal(stream.as_bytes()), "");
    }
    assert_eq!(words(b"POSTS x\r\n"), ["POSTS|x"]);
}

#[test]
fn requests_before_an_error_are_there() {
    let (seen, error) = read(b"PING\r\n*1\r\n$4\r\nPING\r\n*1\r\nx\r\nPING\r\n", 1000, Limits::default());
    assert_eq!(seen, [[b"PING"], [b"PING"]]);
    assert_eq!(error, Some(ProtocolError::ExpectedDollar(b'x')));
}

#[test]
fn before_auth_requests_are_small() {
    let stranger = Limits { authenticated: false, ..Limits::default() };
    let error = |text: &str| format!("-ERR Protocol error: {text}\r\n");
    assert_eq!(refusal_with(b"*11\r\n", stranger), error("unauthenticated multibulk length"));
    assert_eq!(refusal_with(b"*100\r\n", stranger), error("unauthenticated multibulk length"));
    assert_eq!(refusal_with(b"*1\r\n$16385\r\n", stranger), error("unauthenticated bulk length"));
    let allowed = vec![vec![b'x'; 16384]; 10];
    assert_eq!(read(&encode(&allowed), 5000, stranger), (vec![allowed], None));
}

/// One request at a time before AUTH: the next one is parsed under the limits that AUTH grants.
#[test]
fn auth_takes_effect_within_a_read() {
    let mut stream = b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n".to_vec();
    let auth_len = stream.len();
    stream.extend(encode(&vec![b"x".to_vec(); 11]));
    let (mut parser, mut found) = (Parser::new(), Requests::new());
    let mut limits = Limits { authenticated: false, ..Limits::default() };
    let progress = parser.parse(&stream, &limits, &mut found);
    assert!(matches!(progress, Ok(Progress::Full { consumed }) if consumed == auth_len));
    limits.authenticated = true;
    assert!(matches!(parser.parse(&stream[auth_len..], &limits, &mut found), Ok(Progress::All { .. })));
    assert_eq!(found.spans[0].count, 11);
}

#[test]
fn a_batch_is_sixteen_requests() {
    let stream = b"*1\r\n$4\r\nPING\r\n".repeat(BATCH_MAX + 1);
    let (mut parser, mut found) = (Parser::new(), Requests::new());
    let limits = Limits::default();
    let Ok(Progress::Full { consumed }) = parser.parse(&stream, &limits, &mut found) else {
        panic!("seventeen requests do not fit");
    };
    assert_eq!(found.spans.len(), BATCH_MAX);
    assert_eq!(consumed, BATCH_MAX * 14);
    let ends: Vec<u32> = found.spans.iter().map(|span| span.end).collect();
    assert_eq!(ends, (1..=16).map(|n| n * 14).collect::<Vec<u32>>());
    let Ok(Progress::All { consumed }) = parser.parse(&stream[consumed..], &limits, &mut found) else {
        panic!("one request is left");
    };
    assert_eq!((found.spans.len(), consumed), (1, 14));
}

#[test]
fn every_split_gives_the_same_requests() {
    let mut stream = Vec::new();
    stream.extend_from_slice(
        b"PING\r\n*0\r\nset \"k\\x00\" 'v w' ok\r\n*2\r\n$3\r\nGET\r\n$12\r\nhello\r\nworld\r\n\r\n",
    );
    stream.extend(encode(&vec![b"abc".to_vec(); 150]));
    stream.extend_from_slice(b"\r\n*-1\r\n");
    stream.extend(encode(&[b"SET".to_vec(), vec![b'v'; 150], vec![]]));
    let whole = read(&stream, stream.len(), Limits::default());
    assert_eq!((whole.0.len(), &whole.1), (5, &None));
    for at in 0..stream.len() {
        let mut cut = Stream::new(Limits::default());
        let error = [&stream[..at], &stream[at..]].iter().find_map(|part| cut.receive(part).err());
        assert_eq!((cut.seen, error), whole, "cut at {at}");
    }
    for piece in [1, 2, 3, 7, 64, 100] {
        assert_eq!(read(&stream, piece, Limits::default()), whole, "pieces of {piece}");
    }
}

/// A request that was cut off is no request and no error: the rest may come.
#[test]
fn every_prefix_of_a_request_waits() {
    let large = [b"SET".to_vec(), b"k".to_vec(), vec![b'v'; LARGE_BULK + 10]];
    for whole in [
        encode(&[b"GET".to_vec(), b"\r\n$1\r\n".to_vec()]),
        encode(&vec![b"argument".to_vec(); 120]),
        encode(&large),
        b"set \"k\\x00\" 'v w' ok\r\n".to_vec(),
    ] {
        for len in (0..whole.len()).filter(|len| *len < 500 || whole.len() - len < 500) {
            let (requests, error) = read(&whole[..len], usize::MAX, Limits::default());
            assert_eq!((requests.len(), error), (0, None), "{len} of {} bytes", whole.len());
        }
        assert_eq!(read(&whole, usize::MAX, Limits::default()).0.len(), 1);
    }
}

/// An unfinished request of many arguments is not parsed again with each piece.
#[test]
fn a_million_arguments_in_pieces_take_linear_time() {
    let request = vec![b"abcde".to_vec(); 1024 * 1024];
    let stream = encode(&request);
    let started = tandem::clock::mono_ns();
    let (mut parser, mut found, mut last) = (Parser::new(), Requests::new(), None);
    // Each piece is 4 KiB more of the same unfinished request: 2,816 of them.
    for end in (4096..stream.len()).step_by(4096).chain([stream.len()]) {
        last = Some(parser.parse(&stream[..end], &Limits::default(), &mut found));
    }
    assert!(matches!(last, Some(Ok(Progress::All { consumed })) if consumed == stream.len()));
    assert_eq!(found.spans[0].count, 1024 * 1024);
    assert!(found.slices(&stream, &found.spans[0]).all(|arg| arg == b"abcde"));
    // Quadratic work would be 1.4 billion arguments; linear is a million in a debug build.
    let took_ms = (tandem::clock::mono_ns() - started) / 1_000_000;
    assert!(took_ms < 5_000, "{took_ms} ms");
    assert_eq!(parser.heap_bytes(), 0);
    found.clear();
    assert!(found.ranges.capacity() < 1000, "a giant's ranges are given back");
}

/// CVE-2021-32675: a connection costs what it sent, not what it announced.
#[test]
fn announced_bytes_reserve_nothing() {
    let mut stream = Stream::new(Limits::default());
    stream.receive(b"*1000000\r\n$536870912\r\n").expect("allowed");
    let large = stream.large.as_mut().expect("a large bulk begins");
    assert!(large.heap_bytes() < 1000);
    assert!(large.spare(16 * 1024).expect("memory").expect("inside a bulk").len() == 16 * 1024);
    assert!(large.heap_bytes() <= 256 * 1024);
}

#[test]
fn the_query_buffer_has_a_limit() {
    let limits = Limits { query_buffer_max: 1000, ..Limits::default() };
    let part = |n| [&b"*2\r\n$3\r\nSET\r\n$20000\r\n"[..], &vec![b'x'; n]].concat();
    assert_eq!(read(&part(900), 100, limits), (vec![], None));
    assert_eq!(read(&part(1100), 100, limits).1, Some(ProtocolError::QueryBufferLimit));
    assert_eq!(
        read(b"*20000\r\n$1\r\nx\r\n".repeat(200).as_slice(), 100, limits).1,
        Some(ProtocolError::ExpectedDollar(b'*'))
    );
    let large = [&b"*2\r\n$3\r\nSET\r\n$40000\r\n"[..], &vec![b'x'; 1100]].concat();
    assert_eq!(read(&large, 100, limits).1, Some(ProtocolError::QueryBufferLimit));
    assert_eq!(refusal_with(&large, limits), "");
    // Complete requests do not count, however many there are in one buffer.
    assert_eq!(read(&b"PING\r\n".repeat(1000), usize::MAX, limits).0.len(), 1000);
}

#[test]
fn large_arguments_are_received_in_place() {
    let value: Vec<u8> = (0..3_000_000u32).map(|i| i.to_le_bytes()[0]).collect();
    let request =
        vec![b"MSET".to_vec(), b"k1".to_vec(), value.clone(), b"k2".to_vec(), value[..40_000].to_vec()];
    let stream = encode(&request);
    let (mut parser, mut found) = (Parser::new(), Requests::new());
    let Ok(Progress::Large { consumed, mut request }) =
        parser.parse(&stream[..1000], &Limits::default(), &mut found)
    else {
        panic!("a large bulk is under way");
    };
    assert_eq!(consumed, 1000);
    let mut rest = &stream[1000..];
    let mut received_in_place = 0;
    while !request.is_complete() {
        let n = match request.spare(64 * 1024).expect("memory") {
            Some(room) => {
                let n = room.len().min(rest.len()).min(10_000);
                room[..n].copy_from_slice(&rest[..n]);
                request.advance(n);
                received_in_place += n;
                n
            }
            None => request.feed(&rest[..rest.len().min(100)]).expect("well formed"),
        };
        rest = &rest[n..];
    }
    assert!(rest.is_empty());
    assert!(received_in_place > 3_030_000);
    let args = request.into_args();
    assert!(args[2] == value && args[4] == value[..40_000] && args[3] == b"k2");
    assert!(args.iter().all(|arg| arg.capacity() == arg.len()), "no byte is reserved in vain");
}

#[test]
fn errors_inside_large_requests() {
    let limits = Limits::default();
    let start = [&b"*2\r\n$40000\r\n"[..], &vec![b'x'; 40_000]].concat();
    for (rest, error) in [
        (&b"xx"[..], ProtocolError::InvalidCrlf),
        (b"\rx", ProtocolError::InvalidCrlf),
        (b"\r\nPING\r\n", ProtocolError::ExpectedDollar(b'P')),
        (b"\r\n\r\n", ProtocolError::ExpectedDollar(b'\r')),
        (b"\r\n$4\rxPING", ProtocolError::InvalidCrlf),
        (b"\r\n$-1\r\n", ProtocolError::InvalidBulkLength),
        (b"\r\n$04\r\n", ProtocolError::InvalidBulkLength),
        (&[&b"\r\n$"[..], &[b'1'; 70_000]].concat(), ProtocolError::TooBigBulkCount),
    ] {
        let stream = [&start, rest].concat();
        for piece in [1, 1000, 10_000, stream.len()] {
            assert_eq!(read(&stream, piece, limits), (vec![], Some(error)), "{error} in pieces of {piece}");
        }
    }
    const { assert!(LARGE_BULK < 40_000) };
}

/// The corpus of the fuzz target, run as a test.
#[test]
fn fuzz_corpus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/resp");
    let mut files = 0;
    for file in std::fs::read_dir(folder).expect("the corpus is checked in") {
        fuzz_one(&std::fs::read(file.expect("readable").path()).expect("readable"));
        files += 1;
    }
    assert!(files >= 10, "{files} files only");
}

/// Arguments of any bytes; some near the sizes where the parser changes its ways.
fn argument() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..20),
        2 => prop::collection::vec(any::<u8>(), 95..105),
        1 => (32_700..40_000usize, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

/// What streams of noise are made of.
const TOKENS: [&str; 19] = [
    "*",
    "$",
    "\r\n",
    "\r",
    "\n",
    "1",
    "2",
    "-",
    "0",
    "33000",
    "PING",
    "\"",
    "'",
    "\\x41",
    " ",
    "\0",
    "*2\r\n$3\r\nGET\r\n",
    "$1\r\nk\r\n",
    "+",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read(
        requests in prop::collection::vec(prop::collection::vec(argument(), 1..6), 0..30),
        piece in 1..5000usize,
    ) {
        let stream: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
        prop_assert_eq!(read(&stream, piece, Limits::default()), (requests, None));
    }

    /// Whatever comes in, splits do not matter and nothing panics.
    #[test]
    fn noise_is_read_the_same_in_pieces(
        tokens in prop::collection::vec(prop::sample::select(&TOKENS[..]), 0..60),
        head in any::<[u8; 2]>(),
    ) {
        fuzz_one(&[&head[..], tokens.concat().as_bytes()].concat());
    }
}
