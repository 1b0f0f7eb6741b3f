//! Writes the first corpus: `cargo run -p tertulia-fuzzing --bin fuzz-seeds`. What the fuzzer finds is added by
//! `cargo fuzz cmin`.

use std::{fs, io, path::Path};

use tertulia_fuzzing::{Samples, conversation_seeds, samples, script};

/// Three members, everything that can be done, as `life` reads it: what, who, how.
const LIVES: [&[[u8; 3]]; 7] = [
    // Alone, then with two others who join by their Welcome, and talk.
    &[[0, 0, 0], [6, 0, 1], [10, 1, 0], [6, 0, 2], [10, 2, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0], [1, 2, 0]],
    // Answers and commits are lost, and settled.
    &[
        [6, 0, 1],
        [10, 1, 0],
        [5, 0, 64],
        [0, 0, 0],
        [9, 0, 0],
        [12, 0, 0],
        [5, 1, 128],
        [1, 1, 0],
        [12, 1, 0],
    ],
    // From outside, and again over a stale state.
    &[[5, 0, 0], [11, 1, 0], [11, 2, 64], [1, 2, 0], [9, 1, 0], [11, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]],
    // Removed and added again.
    &[[6, 0, 1], [10, 1, 0], [7, 0, 1], [1, 1, 0], [1, 1, 0], [6, 0, 1], [10, 1, 0], [8, 1, 2], [10, 2, 0]],
    // Damaged, duplicated, late, taken back.
    &[[6, 0, 1], [10, 1, 0], [0, 0, 0], [0, 0, 0], [4, 1, 17], [4, 1, 91], [3, 1, 3], [3, 1, 2], [3, 1, 3]],
    &[
        [6, 0, 1],
        [10, 1, 0],
        [0, 1, 0],
        [13, 0, 0],
        [13, 0, 1],
        [13, 0, 2],
        [5, 1, 192],
        [5, 0, 0],
        [4, 1, 9],
    ],
    // Proposals: of an update and of a removal, committed by another, and one that a commit leaves out.
    &[
        [6, 0, 1],
        [10, 1, 0],
        [14, 1, 6],
        [1, 0, 0],
        [5, 0, 0],
        [1, 1, 0],
        [1, 1, 0],
        [14, 0, 2],
        [5, 1, 0],
        [1, 0, 0],
        [14, 1, 4],
        [1, 0, 0],
        [5, 0, 0],
    ],
];

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for Samples { target, choices, real } in samples() {
        for (index, sample) in real.iter().enumerate() {
            for choice in choices.clone() {
                let whole = [&[choice][..], &script::unchanged(index)].concat();
                write(&root, target, &format!("whole-{choice}-{index}"), &whole)?;
            }
            let choice = choices.start;
            let raw = [&[choice, 0][..], sample].concat();
            write(&root, target, &format!("raw-{choice}-{index}"), &raw)?;
            for (name, damage) in damages() {
                let damaged = [&[choice][..], &script::unchanged(index), &damage].concat();
                write(&root, target, &format!("{name}-{choice}-{index}"), &damaged)?;
            }
        }
    }
    for choice in 0..17 {
        for (name, damage) in damages() {
            let damaged = [&[choice][..], &script::unchanged(0), &damage].concat();
            write(&root, "stored", &format!("{name}-{choice}"), &damaged)?;
        }
        write(&root, "stored", &format!("raw-{choice}"), &[choice, 0, 0, 1])?;
    }
    for (index, life) in LIVES.iter().enumerate() {
        write(&root, "life", &format!("life-{index}"), &life.concat())?;
    }
    for (target, name, bytes) in conversation_seeds() {
        write(&root, target, name, &bytes)?;
    }
    for (name, damage) in damages() {
        write(&root, "envelope", name, &[script::unchanged(0), damage].concat())?;
    }
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../content/tests/vectors");
    for entry in fs::read_dir(vectors)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "cbor") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            write(&root, "content", &name, &fs::read(&path)?)?;
        }
    }
    Ok(())
}

/// One damage of each sort, where it tells something.
fn damages() -> [(&'static str, Vec<u8>); 5] {
    [
        ("version", vec![0, 0, 1, 2]),
        ("flipped", vec![0, 0, 60, 1]),
        ("short", vec![4, 0, 20, 0]),
        ("spliced", vec![5, 0, 40, 1]),
        ("long", vec![7, 0, 4, 0x3f]),
    ]
}

fn write(root: &Path, target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(root.join(target))?;
    fs::write(root.join(target).join(name), bytes)
}
