//! The table of hit ratios.

use super::{Budget, Cell, HitRatioArgs};
use crate::compare::{Table, count};

pub fn markdown(args: &HitRatioArgs, cells: &[Cell]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for cell in cells {
        if !names.contains(&cell.server.as_str()) {
            names.push(&cell.server);
        }
    }
    let mut head = vec!["trace".to_owned(), "requests".to_owned(), "keys".to_owned(), "cache".to_owned()];
    head.extend(names.iter().map(|n| (*n).to_owned()));
    if names.len() > 1 {
        head.push(format!("{} – best other", names[0]));
    }
    head.push("keys held".to_owned());
    let mut table = Table::new(head);
    let (mut gains, mut sums) = (Vec::new(), vec![0.0; names.len()]);
    for row in cells.chunks(names.len()) {
        let first = &row[0];
        let mut line = vec![
            first.trace.clone(),
            count(first.requests),
            count(first.distinct),
            format!("{} %", first.cache_percent),
        ];
        line.extend(row.iter().map(|c| format!("{:.1}", c.hit_percent)));
        if names.len() > 1 {
            let best = row[1..].iter().map(|c| c.hit_percent).fold(f64::NEG_INFINITY, f64::max);
            gains.push(first.hit_percent - best);
            line.push(format!("{:+.1}", first.hit_percent - best));
        }
        let held = row.iter().map(|c| format!("{:.0}", c.keys_held as f64 * 100.0 / c.cache_keys as f64));
        line.push(held.collect::<Vec<_>>().join(" / ") + " %");
        for (sum, cell) in sums.iter_mut().zip(row) {
            *sum += cell.hit_percent;
        }
        table.row(line);
    }
    let rows = (cells.len() / names.len().max(1)).max(1) as f64;
    let mut mean = vec!["mean".to_owned(), String::new(), String::new(), String::new()];
    mean.extend(sums.iter().map(|s| format!("{:.1}", s / rows)));
    if names.len() > 1 {
        mean.push(format!("{:+.1}", gains.iter().sum::<f64>() / rows));
    }
    mean.push(String::new());
    table.row(mean);
    let budget = match args.budget {
        Budget::Keys => {
            "Each server's limit was set so that it holds the wanted number of keys while it evicts"
        }
        Budget::Bytes => "All servers have the same limit in bytes",
    };
    let pace =
        args.pace.map_or("as fast as it went".to_owned(), |r| format!("{} requests/s", count(r as u64)));
    format!(
        "### hitratio: percent of requests that hit, GET and on a miss SET\n\nValues of {} bytes, {pace}, from an empty \
         server. {budget}; `keys held` is what it held in the end, by that number.\n\n{}",
        args.value_size,
        table.markdown()
    )
}
