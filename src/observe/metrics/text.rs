//! The two text forms: that of Prometheus, and OpenMetrics 1.0.

use super::{Kind, Metric, Unit};
use crate::observe::buckets::{BOUNDS_TEXT, Buckets};

/// Which form a scraper asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Version 0.0.4.
    Prometheus,
    /// Version 1.0.0.
    OpenMetrics,
}

impl Form {
    /// Whether this `Accept` header asks for OpenMetrics.
    pub fn is_asked_for(accept: &str) -> bool {
        accept
            .split(',')
            .any(|kind| kind.split(';').next().is_some_and(|k| k.trim() == "application/openmetrics-text"))
    }

    /// The `Content-Type` of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    pub(super) fn end(self, text: &mut String) {
        if self == Form::OpenMetrics {
            text.push_str("# EOF\n");
        }
    }
}

/// The name of the family: OpenMetrics has that of a counter without its suffix.
pub(super) fn base(metric: &Metric) -> &'static str {
    match metric.kind {
        Kind::Counter => metric.name.strip_suffix("_total").unwrap_or(metric.name),
        _ => metric.name,
    }
}

/// Takes the values of one metric.
pub struct Series<'a> {
    text: &'a mut String,
    metric: &'a Metric,
    form: Form,
    begun: bool,
}

/// A number that a metric can have.
pub trait Number {
    /// Writes it.
    fn write(self, text: &mut String);
}

impl Number for u64 {
    fn write(self, text: &mut String) {
        text.push_str(itoa::Buffer::new().format(self));
    }
}

impl Number for usize {
    fn write(self, text: &mut String) {
        text.push_str(itoa::Buffer::new().format(self));
    }
}

impl Number for bool {
    fn write(self, text: &mut String) {
        text.push(if self { '1' } else { '0' });
    }
}

impl Number for f64 {
    fn write(self, text: &mut String) {
        match self.is_finite() {
            true => text.push_str(ryu::Buffer::new().format_finite(self)),
            false if self.is_nan() => text.push_str("NaN"),
            false => text.push_str(if self > 0.0 { "+Inf" } else { "-Inf" }),
        }
    }
}

impl<'a> Series<'a> {
    pub(super) fn new(text: &'a mut String, metric: &'a Metric, form: Form) -> Series<'a> {
        Series { text, metric, form, begun: false }
    }

    /// The lines that come before the first value; a metric without values has none.
    fn begin(&mut self) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let open = self.form == Form::OpenMetrics;
        let family = if open { base(self.metric) } else { self.metric.name };
        let mut line = |parts: [&str; 5]| {
            parts.iter().for_each(|part| self.text.push_str(part));
            self.text.push('\n');
        };
        line(["# HELP ", family, " ", self.metric.help, ""]);
        line(["# TYPE ", family, " ", self.metric.kind.word(), ""]);
        let unit = self.metric.unit.word();
        let shows_unit = self.metric.unit != Unit::None
            && family.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'));
        if open && shows_unit {
            line(["# UNIT ", family, " ", unit, ""]);
        }
    }

    /// The only value.
    pub fn one(&mut self, value: impl Number) {
        self.labelled(&[], value);
    }

    /// The value of a series, by the values of its labels in their order.
    pub fn labelled(&mut self, labels: &[&str], value: impl Number) {
        debug_assert_eq!(labels.len(), self.metric.labels.len(), "{}", self.metric.name);
        self.begin();
        self.text.push_str(self.metric.name);
        self.labels(labels, None);
        self.end_line(value);
    }

    /// A histogram.
    pub fn histogram(&mut self, labels: &[&str], buckets: &Buckets) {
        debug_assert_eq!(labels.len(), self.metric.labels.len(), "{}", self.metric.name);
        self.begin();
        let bounds = BOUNDS_TEXT.into_iter().chain(["+Inf"]);
        let mut count = 0;
        for (bound, in_bucket) in bounds.zip(buckets.counts) {
            count += in_bucket;
            self.text.push_str(self.metric.name);
            self.text.push_str("_bucket");
            self.labels(labels, Some(bound));
            self.end_line(count);
        }
        self.part("_sum", labels, buckets.sum_ns as f64 / 1e9);
        self.part("_count", labels, count);
    }

    fn part(&mut self, suffix: &str, labels: &[&str], value: impl Number) {
        self.text.push_str(self.metric.name);
        self.text.push_str(suffix);
        self.labels(labels, None);
        self.end_line(value);
    }

    fn labels(&mut self, values: &[&str], bound: Option<&str>) {
        let named = self.metric.labels.iter().copied().zip(values.iter().copied());
        let mut separator = '{';
        for (name, value) in named.chain(bound.map(|bound| ("le", bound))) {
            self.text.push(separator);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(self.text, value);
            self.text.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
    }

    fn end_line(&mut self, value: impl Number) {
        self.text.push(' ');
        value.write(self.text);
        self.text.push('\n');
    }
}

fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &'static str, kind: Kind, unit: Unit, labels: &'static [&'static str]) -> Metric {
        Metric { name, kind, unit, labels, help: "Help.", read: |_, _| {} }
    }

    fn written(metric: &Metric, form: Form, write: impl Fn(&mut Series<'_>)) -> String {
        let mut text = String::new();
        write(&mut Series::new(&mut text, metric, form));
        text
    }

    #[test]
    fn both_forms_of_a_counter() {
        let counter = metric("tandem_x_seconds_total", Kind::Counter, Unit::Seconds, &["a", "b"]);
        let write = |series: &mut Series<'_>| {
            series.labelled(&["1", "q\"\\\n"], 1.5);
            series.labelled(&["2", ""], 7_u64);
        };
        let lines = "tandem_x_seconds_total{a=\"1\",b=\"q\\\"\\\\\\n\"} 1.5\ntandem_x_seconds_total{a=\"2\",b=\"\"} 7\n";
        assert_eq!(
            written(&counter, Form::Prometheus, write),
            format!("# HELP tandem_x_seconds_total Help.\n# TYPE tandem_x_seconds_total counter\n{lines}")
        );
        assert_eq!(
            written(&counter, Form::OpenMetrics, write),
            format!(
                "# HELP tandem_x_seconds Help.\n# TYPE tandem_x_seconds counter\n# UNIT tandem_x_seconds seconds\n{lines}"
            )
        );
        assert_eq!(written(&counter, Form::OpenMetrics, |_| {}), "", "without a value there is nothing");
    }

    #[test]
    fn a_histogram_adds_up_from_below() {
        let histogram = metric("tandem_y_seconds", Kind::Histogram, Unit::Seconds, &[]);
        let mut buckets = Buckets::default();
        [500, 1_500, 60_000_000_000].into_iter().for_each(|ns| buckets.record(ns));
        let text = written(&histogram, Form::Prometheus, |series| series.histogram(&[], &buckets));
        assert!(text.contains("_bucket{le=\"1e-06\"} 1\n"), "{text}");
        assert!(text.contains("_bucket{le=\"2e-06\"} 2\n"), "{text}");
        assert!(text.contains("_bucket{le=\"10.0\"} 2\n"), "{text}");
        assert!(text.contains("_bucket{le=\"+Inf\"} 3\n"), "{text}");
        assert!(text.ends_with("tandem_y_seconds_sum 60.000002\ntandem_y_seconds_count 3\n"), "{text}");
    }

    #[test]
    fn numbers_and_what_is_asked_for() {
        let gauge = metric("tandem_z", Kind::Gauge, Unit::None, &[]);
        let value = |write: fn(&mut Series<'_>)| written(&gauge, Form::Prometheus, write);
        assert!(value(|s| s.one(f64::INFINITY)).ends_with(" +Inf\n"));
        assert!(value(|s| s.one(f64::NAN)).ends_with(" NaN\n"));
        assert!(value(|s| s.one(true)).ends_with(" 1\n"));
        assert!(value(|s| s.one(u64::MAX)).ends_with(" 18446744073709551615\n"));
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert!(Form::is_asked_for(prometheus));
        assert!(!Form::is_asked_for("text/plain, */*"));
    }
}
