//! The live page: one HTML file without anything from elsewhere, and the stream that feeds it.
//!
//! ```text
//! live.html    the page         feed      who looks on, the ticks      durations   percentiles of the last second
//! json         written by hand  figures   every tick                   lists       once a second
//! ```
//!
//! Nothing runs and nothing is kept up to date while nobody looks. One frame is made for all viewers; who reads too slowly
//! misses frames, each of which is complete in itself. Whoever reaches the port sees the page without a password: so
//! neither keys nor values are in it.

mod durations;
mod feed;
mod figures;
mod json;
mod lists;

pub(super) use feed::Feed;

use std::rc::Rc;
use std::sync::LazyLock;

use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use sha2::{Digest, Sha256};

use super::routes::reply;
use super::{Body, Site};

const PAGE: &str = include_str!("live.html");

/// `GET /`
pub(super) fn page(_: &Rc<Site>, _: &Request<Incoming>) -> Response<Body> {
    let mut answer =
        reply(StatusCode::OK, "text/html; charset=utf-8", Body::whole(Bytes::from_static(PAGE.as_bytes())));
    let headers = answer.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    answer
}

/// `GET /live`
pub(super) fn live(site: &Rc<Site>, _: &Request<Incoming>) -> Response<Body> {
    match feed::join(site) {
        Some(body) => reply(StatusCode::OK, "text/event-stream", body),
        None => {
            let reason = "too many are looking already\n";
            reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", Body::whole(reason))
        }
    }
}

/// What the page may do: run its one script, use its one style sheet, and talk to where it came from.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest(between(PAGE, "<script>", "</script>")),
        digest(between(PAGE, "<style>", "</style>"))
    )
});

fn between<'t>(text: &'t str, open: &str, close: &str) -> &'t str {
    text.split_once(open).and_then(|(_, rest)| rest.split_once(close)).map_or("", |(inner, _)| inner)
}

fn digest(text: &str) -> String {
    base64(&Sha256::digest(text.as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let group =
            three.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let is_there = digit <= three.len();
            text.push(if is_there { char::from(DIGITS[group >> (18 - 6 * digit) & 63]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_file_and_has_a_policy() {
        for other in
            ["src=", "href=\"http", "url(http", "@import", "innerHTML", "style=\"", "onclick", "eval("]
        {
            assert!(!PAGE.contains(other), "{other} in the page");
        }
        assert_eq!(PAGE.matches("<script>").count(), 1);
        assert_eq!(PAGE.matches("<style>").count(), 1);
        assert!(!between(PAGE, "<script>", "</script>").is_empty());
        assert!(HeaderValue::from_str(&POLICY).is_ok());
    }

    #[test]
    fn digits_of_base64() {
        let texts = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
