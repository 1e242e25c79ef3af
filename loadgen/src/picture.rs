//! A picture on its way to a file: as SVG, or as PNG where the file is named so.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg;

/// Pixels of a PNG for each unit of the drawing.
const SCALE: u32 = 2;

/// Writes a drawing.
pub fn write(path: &Path, svg: &str) -> Result<()> {
    let is_png = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
    let bytes = if is_png { png(svg)? } else { svg.as_bytes().to_vec() };
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// SVG leaves the letters to its reader, so a PNG needs fonts of this machine.
fn png(svg: &str) -> Result<Vec<u8>> {
    let mut options = usvg::Options::default();
    let fonts = options.fontdb_mut();
    fonts.load_system_fonts();
    let families = || fonts.faces().filter_map(|face| Some(&face.families.first()?.0));
    let family = families().find(|name| name.contains("Sans")).or_else(|| families().next());
    let Some(any) = family.cloned() else {
        anyhow::bail!(
            "there is no font on this machine for a PNG: install one (fonts-dejavu-core), or write SVG"
        );
    };
    let sans = usvg::fontdb::Query { families: &[usvg::fontdb::Family::SansSerif], ..Default::default() };
    if fonts.query(&sans).is_none() {
        fonts.set_sans_serif_family(any);
    }
    let tree = usvg::Tree::from_str(svg, &options).context("the drawing is not SVG")?;
    let size = tree.size().to_int_size();
    let mut pixels = Pixmap::new(size.width() * SCALE, size.height() * SCALE).context("an empty drawing")?;
    let scale = SCALE as f32;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    ensure!(pixels.pixels().iter().any(|p| p.alpha() != 0), "nothing was drawn");
    pixels.encode_png().context("cannot make a PNG")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_file_says_what_is_written() {
        let svg = r#"<svg width="40" height="20" xmlns="http://www.w3.org/2000/svg"><rect width="40" height="20" fill="red"/></svg>"#;
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("a.svg"), svg).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("a.svg")).unwrap(), svg);
        if png(svg).is_err() {
            // A machine without fonts says so.
            return;
        }
        write(&dir.path().join("a.PNG"), svg).unwrap();
        let bytes = std::fs::read(dir.path().join("a.PNG")).unwrap();
        assert_eq!(bytes[..8], *b"\x89PNG\r\n\x1a\n");
        // The header's width and height.
        assert_eq!((bytes[16..20].to_vec(), bytes[20..24].to_vec()), (vec![0, 0, 0, 80], vec![0, 0, 0, 40]));
    }
}
