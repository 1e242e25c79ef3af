//! `oom-score-adj`: telling the kernel how willingly to part with this process when memory runs out.

use std::path::PathBuf;

use super::{Config, OomScoreAdj};

/// Bounds of what the kernel takes.
const SCORE_MAX: i32 = 1000;

/// The score of this process: what it was at the start, and whether it was changed since.
#[derive(Debug)]
pub struct OomScore {
    file: PathBuf,
    at_start: i32,
    changed: bool,
}

impl OomScore {
    /// Reads the score that this process was started with.
    ///
    /// # Errors
    /// If the kernel does not show it.
    pub fn of_this_process() -> std::io::Result<Self> {
        Self::of(PathBuf::from("/proc/self/oom_score_adj"))
    }

    fn of(file: PathBuf) -> std::io::Result<Self> {
        let text = std::fs::read_to_string(&file)?;
        let at_start =
            text.trim().parse().map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidData))?;
        Ok(OomScore { file, at_start, changed: false })
    }

    /// Brings the process to the score of the settings; turned off again, to the one of the start.
    ///
    /// # Errors
    /// If the kernel refuses, as it does for a lower score without privileges.
    pub fn apply(&mut self, config: &Config) -> std::io::Result<()> {
        let [own, ..] = config.oom_score_adj_values.0;
        let score = match config.oom_score_adj {
            OomScoreAdj::No if !self.changed => return Ok(()),
            OomScoreAdj::No => self.at_start,
            OomScoreAdj::Relative => self.at_start.saturating_add(own),
            OomScoreAdj::Absolute => own,
        };
        std::fs::write(&self.file, score.clamp(-SCORE_MAX, SCORE_MAX).to_string())?;
        self.changed = config.oom_score_adj != OomScoreAdj::No;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::OomScores;
    use super::*;

    #[test]
    fn scores_follow_the_settings_and_come_back() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("oom_score_adj");
        std::fs::write(&file, "10\n").unwrap();
        let mut score = OomScore::of(file.clone()).unwrap();
        let mut config = Config { oom_score_adj_values: OomScores([995, 996, 997]), ..Config::default() };
        for (mode, expected) in [
            (OomScoreAdj::No, "10\n"),
            (OomScoreAdj::Relative, "1000"),
            (OomScoreAdj::Absolute, "995"),
            (OomScoreAdj::No, "10"),
        ] {
            config.oom_score_adj = mode;
            score.apply(&config).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), expected);
        }
        assert!(OomScore::of_this_process().is_ok());
    }
}
