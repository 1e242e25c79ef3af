//! Markdown tables, and what is written into their cells.

/// A table whose columns are as wide as their widest cell.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<S: Into<String>>(head: impl IntoIterator<Item = S>) -> Self {
        Table { rows: vec![head.into_iter().map(Into::into).collect()] }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.rows[0].len());
        self.rows.push(cells);
    }

    /// Whether it has no rows but its head.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    pub fn markdown(&self) -> String {
        let widths: Vec<usize> = (0..self.rows[0].len())
            .map(|c| self.rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0).max(3))
            .collect();
        let line = |cells: &[String]| {
            let padded: Vec<String> =
                cells.iter().zip(&widths).map(|(cell, &w)| format!("{cell:>w$}")).collect();
            format!("| {} |\n", padded.join(" | "))
        };
        let mut text = line(&self.rows[0]);
        let rule: Vec<String> = widths.iter().map(|w| format!("{}:", "-".repeat(w - 1))).collect();
        text += &line(&rule);
        for row in &self.rows[1..] {
            text += &line(row);
        }
        text
    }
}

/// Middle of some figures (the lower one of an even number), with the extremes.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut all: Vec<f64> = figures.into_iter().filter(|f| f.is_finite()).collect();
        all.sort_by(f64::total_cmp);
        match all.as_slice() {
            [] => Spread { median: f64::NAN, min: f64::NAN, max: f64::NAN },
            some => Spread { median: some[(some.len() - 1) / 2], min: some[0], max: some[some.len() - 1] },
        }
    }

    /// `1.23 (1.20–1.31)`.
    pub fn ratio(&self) -> String {
        if self.median.is_nan() {
            "–".to_owned()
        } else {
            format!("{:.2} ({:.2}–{:.2})", self.median, self.min, self.max)
        }
    }
}

/// `1000`, `100k`, `1.5M`.
pub fn count(n: u64) -> String {
    match n {
        _ if n >= 1_000_000 && n.is_multiple_of(100_000) => format!("{}M", n as f64 / 1e6),
        _ if n >= 1000 && n.is_multiple_of(1000) => format!("{}k", n / 1000),
        _ => n.to_string(),
    }
}

/// Microseconds with as many decimals as they need.
pub fn us(us: f64) -> String {
    match us {
        _ if us.is_nan() => "–".to_owned(),
        _ if us < 1.0 => format!("{us:.3}"),
        _ if us < 10.0 => format!("{us:.2}"),
        _ if us < 100.0 => format!("{us:.1}"),
        _ => format!("{us:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let mut t = Table::new(["a", "b"]);
        t.row(vec!["1".into(), "long cell".into()]);
        assert_eq!(t.markdown(), "|   a |         b |\n| --: | --------: |\n|   1 | long cell |\n");
    }

    #[test]
    fn spreads_and_counts() {
        let s = Spread::of([3.0, 1.0, 2.0, f64::NAN]);
        assert_eq!((s.median, s.min, s.max), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of([]).ratio(), "–");
        assert_eq!([count(999), count(100_000), count(1_500_000)], ["999", "100k", "1.5M"]);
    }
}
