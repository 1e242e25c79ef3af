//! What is served under which path.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::{Body, Site, page};
use crate::observe::health;
use crate::observe::metrics::{self, Form};

/// Answers requests of one path. Like a command's handler it neither waits nor locks; what takes time goes into a stream.
pub type Handler = fn(&Rc<Site>, &Request<Incoming>) -> Response<Body>;

/// One path.
pub struct Route {
    /// As it stands in the request, without the query.
    pub path: &'static str,
    /// What is there, for people.
    pub summary: &'static str,
    handler: Handler,
}

/// All that is served, in the order in which it is listed.
pub static ROUTES: &[Route] = &[
    Route { path: "/", summary: "the live page", handler: page::page },
    Route { path: "/live", summary: "what feeds it: server-sent events", handler: page::live },
    Route { path: "/healthz", summary: "200 while the process lives", handler: healthz },
    Route {
        path: "/readyz",
        summary: "200 while it should get requests; ?exclude=NAME leaves a check out",
        handler: readyz,
    },
    Route {
        path: "/metrics",
        summary: "figures for Prometheus; docs/metrics.md says what they mean",
        handler: metrics,
    },
];

const TEXT: &str = "text/plain; charset=utf-8";

/// Finds the route and asks its handler; a panic in there is an answer too.
pub(super) fn answer(site: &Rc<Site>, request: &Request<Incoming>) -> Response<Body> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let path = request.uri().path();
    let Some(route) = ROUTES.iter().find(|route| route.path == path) else {
        return text(StatusCode::NOT_FOUND, directory());
    };
    catch_unwind(AssertUnwindSafe(|| (route.handler)(site, request))).unwrap_or_else(|_| {
        tracing::error!("answering {} over HTTP ended in a panic", route.path);
        text(StatusCode::INTERNAL_SERVER_ERROR, "this request met a bug; the log says where\n".to_owned())
    })
}

fn directory() -> String {
    ROUTES.iter().map(|route| format!("{:<10} {}\n", route.path, route.summary)).collect()
}

/// An answer of this kind, which nobody is to keep.
pub fn reply(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

fn text(status: StatusCode, lines: String) -> Response<Body> {
    reply(status, TEXT, Body::whole(lines))
}

fn healthz(_: &Rc<Site>, _: &Request<Incoming>) -> Response<Body> {
    text(StatusCode::OK, "ok\n".to_owned())
}

fn readyz(site: &Rc<Site>, request: &Request<Incoming>) -> Response<Body> {
    let checks = health::checks(&site.snapshot());
    let query = request.uri().query().unwrap_or_default();
    let excluded: Vec<&str> = query.split('&').filter_map(|part| part.strip_prefix("exclude=")).collect();
    let (ready, lines) = verdict(&checks, &excluded);
    text(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, lines)
}

fn metrics(site: &Rc<Site>, request: &Request<Incoming>) -> Response<Body> {
    let accepted = request.headers().get_all(header::ACCEPT).iter();
    let form = match accepted.filter_map(|value| value.to_str().ok()).any(Form::is_asked_for) {
        true => Form::OpenMetrics,
        false => Form::Prometheus,
    };
    let now = site.snapshot();
    let scrape = metrics::Scrape { now: &now, shared: &site.shared, commands: site.commands };
    reply(StatusCode::OK, form.content_type(), Body::whole(metrics::render(&scrape, form)))
}

/// Whether all checks that count are passed, and a line for each.
fn verdict(checks: &[health::Check], excluded: &[&str]) -> (bool, String) {
    let mut ready = true;
    let mut lines = String::new();
    for check in checks {
        let counts = !excluded.contains(&check.name);
        let line = match &check.failure {
            None => format!("ok {}\n", check.name),
            Some(reason) if counts => format!("failed {}: {reason}\n", check.name),
            Some(reason) => format!("excluded {}: {reason}\n", check.name),
        };
        ready &= check.failure.is_none() || !counts;
        lines.push_str(&line);
    }
    lines.push_str(if ready { "ready\n" } else { "not ready\n" });
    (ready, lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::health::Check;

    #[test]
    fn one_failed_check_is_enough_unless_it_is_excluded() {
        let checks = [
            Check { name: "started", failure: None },
            Check { name: "memory", failure: Some("full".to_owned()) },
        ];
        let (ready, lines) = verdict(&checks, &[]);
        assert!(!ready);
        assert_eq!(lines, "ok started\nfailed memory: full\nnot ready\n");
        let (ready, lines) = verdict(&checks, &["memory"]);
        assert!(ready);
        assert_eq!(lines, "ok started\nexcluded memory: full\nready\n");
    }
}
