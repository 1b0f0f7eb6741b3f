//! A bundle as a QR code, for a terminal or as a picture.

use qrcode::{Color, EcLevel, Version, render::unicode::Dense1x2};

use super::{Bundle, BundleError};

/// The most characters that a QR code takes: version 40 with the least error correction.
const MAX_CHARACTERS: usize = 2953;
/// The white border that readers need, in modules.
const BORDER: usize = 4;
/// How many pixels a module has on a side.
const SCALE: usize = 8;

/// A QR code with the text of a bundle.
pub struct QrCode(qrcode::QrCode);

impl QrCode {
    /// The code, with as much error correction as there is room for.
    pub fn of(bundle: &Bundle) -> Result<Self, BundleError> {
        let text = bundle.to_string();
        let too_long = BundleError::TooLongForQr { got: text.len(), max: MAX_CHARACTERS };
        let smallest =
            qrcode::QrCode::with_error_correction_level(&text, EcLevel::L).map_err(|_| too_long)?;
        // A higher level in a code of the same size costs nothing.
        let mut better = [EcLevel::H, EcLevel::Q, EcLevel::M].into_iter();
        let version = smallest.version();
        let fits = |level| qrcode::QrCode::with_version(&text, version, level).ok();
        Ok(Self(better.find_map(fits).unwrap_or(smallest)))
    }

    /// Its modules on a side, without the border.
    pub fn width(&self) -> usize {
        self.0.width()
    }

    /// Two rows of modules in each line of text, with the border: dark modules are the terminal's background, light ones its foreground, as
    /// suits a dark terminal; `inverted` is for a light one.
    pub fn to_text(&self, inverted: bool) -> String {
        let (dark, light) =
            if inverted { (Dense1x2::Dark, Dense1x2::Light) } else { (Dense1x2::Light, Dense1x2::Dark) };
        self.0.render::<Dense1x2>().dark_color(dark).light_color(light).quiet_zone(true).build()
    }

    /// A PNG picture, black on white, with the border.
    pub fn to_png(&self) -> Vec<u8> {
        let (modules, side) = (self.0.to_colors(), self.pixels());
        let width = self.0.width();
        let is_dark = |x: usize, y: usize| {
            let (Some(x), Some(y)) = ((x / SCALE).checked_sub(BORDER), (y / SCALE).checked_sub(BORDER))
            else {
                return false;
            };
            x < width && modules.get(y * width + x) == Some(&Color::Dark)
        };
        let pixels = (0..side * side).map(|index| if is_dark(index % side, index / side) { 0 } else { 255 });
        let pixels: Vec<u8> = pixels.collect();
        let mut picture = Vec::new();
        let size = u32::try_from(side).expect("a QR code has at most 177 modules on a side");
        let mut encoder = png::Encoder::new(&mut picture, size, size);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().expect("writing to memory does not fail");
        writer.write_image_data(&pixels).expect("there is a byte for each pixel");
        writer.finish().expect("writing to memory does not fail");
        picture
    }

    /// Pixels on a side of the picture.
    fn pixels(&self) -> usize {
        (self.0.width() + 2 * BORDER) * SCALE
    }
}

impl std::fmt::Debug for QrCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Version::Normal(version) = self.0.version() else { return f.write_str("QrCode(micro)") };
        write!(f, "QrCode(version {version})")
    }
}
