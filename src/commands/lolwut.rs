//! LOLWUT: a field of shards between two engines.
//!
//! Every cell is a shard. A wave front goes through the field; what it has passed stands in
//! the new engine (dense), what is before it in the old one (sparse), and around the front keys are on
//! the way. No two pictures are alike; the same seed gives the same picture.

use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::error::Error;

const COLUMNS_DEFAULT: usize = 66;
const ROWS_DEFAULT: usize = 14;
const COLUMNS_MAX: usize = 160;
const ROWS_MAX: usize = 60;

/// How full a shard looks, from empty to overflowing.
const SHADES: [char; 5] = [' ', '·', '░', '▒', '▓'];

/// LOLWUT [VERSION n] [columns] [rows] [seed]
pub fn lolwut(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    if ctx.args.token("VERSION") {
        ctx.args.int()?;
    }
    let mut size = |default: usize, max: usize| -> Result<usize, Error> {
        if ctx.args.left() == 0 {
            return Ok(default);
        }
        Ok(usize::try_from(ctx.args.int()?).unwrap_or(1).clamp(1, max))
    };
    let columns = size(COLUMNS_DEFAULT, COLUMNS_MAX)?;
    let rows = size(ROWS_DEFAULT, ROWS_MAX)?;
    let seed = match ctx.args.left() {
        0 => ctx.local.rng.u64(..),
        _ => ctx.args.int()?.unsigned_abs(),
    };
    let mut text = picture(columns, rows, seed);
    text.push_str(&format!(
        "\nTwo engines, one keyspace: shards on the move. Redis ver. {}, tandem ver. {}\n",
        crate::REDIS_VERSION,
        env!("CARGO_PKG_VERSION")
    ));
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}

fn picture(columns: usize, rows: usize, seed: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    // Two sine waves are the front; where it stands on average is a matter of luck.
    let middle = columns as f64 * (0.3 + 0.4 * rng.f64());
    let (swing, turns) = (columns as f64 * 0.16, 0.5 + 1.5 * rng.f64());
    let (ripple, phase) = (3.0 * rng.f64(), std::f64::consts::TAU * rng.f64());
    let mut text = String::with_capacity(rows * (columns * 3 + 1));
    for row in 0..rows {
        let angle = phase + row as f64 / rows as f64 * std::f64::consts::TAU * turns;
        let front = middle + swing * angle.sin() + ripple * (angle * 5.0).cos();
        for column in 0..columns {
            let ahead = column as f64 - front;
            text.push(match ahead {
                a if a.abs() < 0.5 => '┃',
                a if a.abs() < 4.0 && rng.f64() < 0.35 => {
                    if rng.bool() {
                        '»'
                    } else {
                        '›'
                    }
                }
                a if a < 0.0 => SHADES[1 + rng.usize(..2)],
                _ => SHADES[2 + rng.usize(..3)],
            });
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_size_and_follows_its_seed() {
        let first = picture(40, 7, 1);
        assert_eq!(first.lines().count(), 7);
        assert!(first.lines().all(|line| line.chars().count() == 40));
        assert_eq!(first, picture(40, 7, 1));
        assert_ne!(first, picture(40, 7, 2));
    }
}
