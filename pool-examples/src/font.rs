//! The font and the ink of pictures.

use std::sync::Once;

use plotters::style::{FontStyle, RGBColor};

/// The name of the font that is compiled in.
pub const FONT: &str = "sans-serif";
/// The colour of text and axes.
pub const INK: RGBColor = RGBColor(38, 38, 48);

/// Makes the font that is compiled in known to plotters, once: a bare machine has none.
///
/// # Panics
///
/// Never: the font that is compiled in is a font.
pub fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let known = plotters::style::register_font(
            FONT,
            FontStyle::Normal,
            epaint_default_fonts::UBUNTU_LIGHT,
        );
        assert!(known.is_ok(), "the font that is compiled in is a font");
    });
}
