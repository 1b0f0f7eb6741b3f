//! The engine's operations in groups of 2, 100 and 1000 members, with the keystore on disk.
//!
//! Each is what an application pays: open the transaction, load the group, do it, and write the result durably.

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use std::{hint::black_box, time::Instant};
use tertulia_bench::EngineGroup;
use tokio::runtime::Runtime;

const MEMBERS: [usize; 3] = [2, 100, 1000];
const TEXT: [u8; 1024] = [b'x'; 1024];
const BATCH: u64 = 100;

const WORKS: &str = "the engine does what is measured";

/// Calls `measure` for a group of each size.
fn sizes(
    criterion: &mut Criterion,
    name: &str,
    mut measure: impl FnMut(&mut criterion::Bencher<'_>, &Runtime, &EngineGroup),
) {
    let runtime = Runtime::new().expect("a runtime can be started");
    let mut benchmarks = criterion.benchmark_group(name);
    // A transaction takes milliseconds: a few iterations a sample, all of one length.
    benchmarks.sample_size(20).sampling_mode(SamplingMode::Flat);
    for members in MEMBERS {
        let group = runtime.block_on(EngineGroup::with_members(members)).expect(WORKS);
        benchmarks.bench_function(BenchmarkId::from_parameter(members), |bencher| {
            measure(bencher, &runtime, &group);
        });
    }
}

fn encrypt(criterion: &mut Criterion) {
    sizes(criterion, "encrypt 1 KiB", |bencher, runtime, group| {
        bencher.iter(|| black_box(runtime.block_on(group.encrypt(&TEXT)).expect(WORKS)));
    });
    sizes(criterion, "encrypt 100 × 1 KiB in one transaction", |bencher, runtime, group| {
        bencher.iter(|| black_box(runtime.block_on(group.encrypt_many(&TEXT, BATCH)).expect(WORKS)));
    });
}

fn decrypt(criterion: &mut Criterion) {
    sizes(criterion, "decrypt 1 KiB", |bencher, runtime, group| {
        bencher.iter_custom(|iterations| {
            let messages = runtime.block_on(group.encrypt_many(&TEXT, iterations)).expect(WORKS);
            let start = Instant::now();
            for message in &messages {
                runtime.block_on(group.receive(message)).expect(WORKS);
            }
            start.elapsed()
        });
    });
    sizes(criterion, "decrypt 100 × 1 KiB in one transaction", |bencher, runtime, group| {
        bencher.iter_custom(|iterations| {
            let batches: Vec<_> = (0..iterations)
                .map(|_| runtime.block_on(group.encrypt_many(&TEXT, BATCH)).expect(WORKS))
                .collect();
            let start = Instant::now();
            for batch in &batches {
                runtime.block_on(group.receive_many(batch)).expect(WORKS);
            }
            start.elapsed()
        });
    });
}

fn commit(criterion: &mut Criterion) {
    sizes(criterion, "commit: renew own keys", |bencher, runtime, group| {
        bencher.iter(|| black_box(runtime.block_on(group.commit()).expect(WORKS)));
    });
    sizes(criterion, "apply another's commit", |bencher, runtime, group| {
        bencher.iter_custom(|iterations| {
            let commits: Vec<_> =
                (0..iterations).map(|_| runtime.block_on(group.commit()).expect(WORKS)).collect();
            let start = Instant::now();
            for commit in &commits {
                runtime.block_on(group.receive(commit)).expect(WORKS);
            }
            start.elapsed()
        });
    });
}

criterion_group!(benches, encrypt, decrypt, commit);
criterion_main!(benches);
