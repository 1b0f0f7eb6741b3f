//! Looking for a text where it must not be, in any form that it could have there.

use base64::{
    Engine as _, engine::general_purpose::STANDARD_NO_PAD, engine::general_purpose::URL_SAFE_NO_PAD,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A text with its forms: as it is, in hexadecimal digits, in Base64 at any offset.
pub(crate) struct Needle {
    text: String,
    forms: Vec<Vec<u8>>,
}

impl Needle {
    /// `text` is long enough not to be found by chance.
    pub(crate) fn new(text: &str) -> Self {
        assert!(text.len() >= 8, "{text:?} would be found by chance");
        let bytes = text.as_bytes();
        let hexadecimal = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        let mut forms =
            vec![bytes.to_vec(), hexadecimal.to_uppercase().into_bytes(), hexadecimal.into_bytes()];
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            for shift in 0..3 {
                let encoded = engine.encode([&vec![0; shift], bytes].concat());
                // The characters at either end hold bits of what stands beside the text.
                let (first, end) = ((shift * 8).div_ceil(6), (shift + bytes.len()) * 8 / 6);
                forms.push(encoded.as_bytes()[first..end].to_vec());
            }
        }
        forms.sort();
        forms.dedup();
        Self { text: text.to_owned(), forms }
    }

    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        self.forms.iter().any(|form| bytes.windows(form.len()).any(|window| window == form))
    }

    /// The line of a text that has it.
    pub(crate) fn line_in<'a>(&self, text: &'a str) -> Option<&'a str> {
        let forms: Vec<_> = self.forms.iter().map(|form| String::from_utf8_lossy(form)).collect();
        text.lines().find(|line| forms.iter().any(|form| line.contains(form.as_ref())))
    }

    /// The first file under `directory` that has it.
    pub(crate) fn file_in(&self, directory: &Path) -> Option<PathBuf> {
        files(directory).into_iter().find(|path| {
            let bytes = fs::read(path).expect("a file that was listed can be read");
            self.is_in(&bytes)
        })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the directory is there");
    let paths = entries.map(|entry| entry.expect("a directory can be read").path());
    // A socket, at which a hub is asked, holds nothing.
    let of = |path: PathBuf| match (path.is_dir(), path.is_file()) {
        (true, _) => files(&path),
        (false, true) => vec![path],
        (false, false) => Vec::new(),
    };
    paths.flat_map(of).collect()
}

#[test]
fn a_text_is_found_in_every_form_and_nowhere_else() {
    let needle = Needle::new("the lighthouse");
    for before in ["", "a", "ab", "abc"] {
        let plain = format!("{before}the lighthouse, and more");
        for form in [plain.clone(), STANDARD_NO_PAD.encode(&plain), URL_SAFE_NO_PAD.encode(&plain)] {
            assert!(needle.is_in(form.as_bytes()), "{form}");
        }
    }
    assert!(!needle.is_in(b"the light house"));
    assert!(!needle.is_in(STANDARD_NO_PAD.encode("the light house").as_bytes()));
}
