//! What the targets allocate at most, by an allocator that counts. In a program of its own, as it counts everything.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::{io::Write, sync::LazyLock};

use flate2::{Compression, write::GzEncoder};
use hookgate_core::{body, codec::EVENT_BYTES_MAX, event::Event, request::Request};
use hookgate_fuzz::{TARGETS, Target, seeds, targets};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a function has, by `template.yaml`, less what its code and its clients take.
const FUNCTION_BYTES: usize = (512 - 64) * 1024 * 1024;

/// The largest event that Lambda hands to a function.
const PAYLOAD_BYTES: usize = 6 * 1024 * 1024;

/// Allocated for any input, however small: what is made once for a target is not counted.
const BASE_BYTES: usize = 4 * 1024 * 1024;

/// Allocated for a byte of input, where it is small: `{"":0}` is a whole node of a B-tree, and a view is made twice.
const BYTES_PER_BYTE: usize = 600;

/// The most that was allocated at once while this ran.
fn peak(work: impl FnOnce()) -> usize {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    work();
    MEMORY.peak_usage().saturating_sub(before)
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn repeated(before: &str, piece: &str, after: &str, bytes: usize) -> Vec<u8> {
    let times = bytes.saturating_sub(before.len() + after.len()) / piece.len();
    [before, &piece.repeat(times), after].concat().into_bytes()
}

/// Bodies made to take as much memory as they can.
fn bombs(bytes: usize) -> Vec<(&'static str, Vec<u8>)> {
    let json = "application/json";
    let mut bombs = vec![
        (json, repeated("[", "{\"\":0},", "0]", bytes)),
        (json, repeated("[", "[],", "0]", bytes)),
        (json, repeated("[", "[[0]],", "0]", bytes)),
        (json, repeated("[", "0,", "0]", bytes)),
        (json, repeated("[", "\"a\",", "0]", bytes)),
        (json, repeated("", "[", "", bytes)),
        (json, repeated("\"", "\\u0041", "\"", bytes)),
        ("application/xml", repeated("<r>", "<a b=\"\"/>", "</r>", bytes)),
        ("application/xml", repeated("<r>", "<a/>", "</r>", bytes)),
        ("application/xml", repeated("<r>", "<a><b/></a>", "</r>", bytes)),
        ("application/xml", repeated("", "<a>", "", bytes)),
        ("application/xml", repeated("<r>", "&amp;", "</r>", bytes)),
        ("application/x-www-form-urlencoded", repeated("", "a=&", "", bytes)),
        ("application/x-www-form-urlencoded", repeated("a=", "%41", "", bytes)),
        ("multipart/form-data; boundary=b", repeated("", "--b\n", "", bytes)),
        (
            "multipart/form-data; boundary=b",
            repeated("--b\nContent-Disposition: form-data; name=a\n\n", "a", "\n--b--", bytes),
        ),
        ("text/plain", repeated("", "a", "", bytes)),
    ];
    let members: String = (0..bytes / 12).map(|n| format!("\"{n:x}\":0,")).collect();
    bombs.push((json, format!("{{{members}\"\":0}}").into_bytes()));
    let attributes: String = (0..bytes / 12).map(|n| format!(" a{n:x}=\"\"")).collect();
    bombs.push(("application/xml", format!("<r{attributes}/>").into_bytes()));
    bombs
}

/// One test, so that nothing else allocates meanwhile.
#[test]
fn nothing_allocates_more_than_its_limit() {
    small_inputs();
    large_bodies();
    packed_bodies();
    frames();
}

fn small_inputs() {
    for (name, target) in TARGETS {
        let seeds = seeds::of(name);
        // What is made once.
        seeds.iter().for_each(|seed| target(seed));
        let check = |target: &Target, input: &[u8]| {
            let peak = peak(|| target(input));
            let limit = BASE_BYTES + BYTES_PER_BYTE * input.len();
            assert!(peak <= limit, "{name}: {peak} bytes for {} bytes", input.len());
        };
        for seed in &seeds {
            check(target, seed);
        }
        for (_, bomb) in bombs(20_000) {
            check(target, &bomb);
            check(target, &[b"/a\n".as_slice(), &bomb].concat());
        }
    }
}

fn view(content_type: &str, encoding: Option<&str>, body: &[u8]) -> usize {
    static EMPTY: LazyLock<Request> = LazyLock::new(|| Request::post("", Vec::new(), targets::NOW));
    let mut request = EMPTY.clone();
    assert!(request.set_header("content-type", content_type));
    assert!(encoding.is_none_or(|encoding| request.set_header("content-encoding", encoding)));
    request.body = body.to_vec();
    let told = body::memory_max(&request);
    let event = Event { request, ..seeds::event() };
    let peak = peak(|| {
        let Ok(view) = body::view(&event.request, "") else { return };
        std::hint::black_box(event.context(&view));
    });
    let shown = String::from_utf8_lossy(body.get(..20).unwrap_or(body)).into_owned();
    assert!(peak <= told + BASE_BYTES, "{content_type} {shown}: {peak} bytes, and {told} are told");
    peak
}

fn large_bodies() {
    for (content_type, bomb) in bombs(PAYLOAD_BYTES) {
        let peak = view(content_type, None, &bomb);
        let shown = String::from_utf8_lossy(bomb.get(..20).unwrap()).into_owned();
        assert!(peak <= FUNCTION_BYTES - 2 * PAYLOAD_BYTES, "{content_type} {shown}: {peak} bytes");
    }
}

fn packed_bodies() {
    let bytes = body::UNPACKED_BYTES_MAX - 1;
    for (content_type, bomb) in [
        ("application/json", repeated("[", "{\"\":0},", "0]", bytes)),
        ("application/json", repeated("\"", "a", "\"", bytes)),
        ("application/xml", repeated("<r>", "<a b=\"\"/>", "</r>", bytes)),
    ] {
        let packed = gzip(&bomb);
        let shown = String::from_utf8_lossy(bomb.get(..20).unwrap()).into_owned();
        drop(bomb);
        let peak = view(content_type, Some("gzip"), &packed);
        assert!(peak <= FUNCTION_BYTES - 2 * PAYLOAD_BYTES, "{content_type} {shown}: {peak} bytes");
    }
    let endless = gzip(&vec![0; 3 * body::UNPACKED_BYTES_MAX]);
    let peak = view("application/json", Some("gzip"), &endless);
    assert!(peak <= 4 * body::UNPACKED_BYTES_MAX, "{peak} bytes for a bomb");
}

/// A message or an item that claims to be more than it may.
fn frames() {
    let table = TARGETS.iter().find(|(name, _)| *name == "table").unwrap().1;
    for seed in seeds::of("table") {
        for at in 0..seed.len() {
            let mut damaged = seed.clone();
            if let Some(byte) = damaged.get_mut(at) {
                *byte = 0xff;
            }
            let peak = peak(|| {
                // Whatever else it checks is not what this is about.
                std::panic::catch_unwind(|| table(&damaged)).ok();
            });
            assert!(peak <= 3 * EVENT_BYTES_MAX, "{peak} bytes");
        }
    }
}
