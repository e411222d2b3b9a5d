//! Bodies of every size: at each limit to the byte, up to what the platform takes, and some by chance; through ingest,
//! table, queue, worker and destination, and once more through a replay.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "clippy.toml allows these in test functions only, and the helpers beside them are tests too"
)]

use std::collections::BTreeSet;

use hookgate_aws::{
    replay::{Ask, Replayed, replay},
    schema::FRAME_BYTES_MAX,
};
use hookgate_core::{
    codec::{FRAME_IN_MESSAGE_BYTES_MAX, encode},
    lifecycle::Status,
    request::BODY_BYTES_MAX,
};

use crate::harness::{Destination, World, noise};

/// What a body is made of.
#[derive(Clone, Copy, Debug)]
enum Stuff {
    /// Nothing makes it smaller.
    Noise,
    /// It comes to a tenth.
    Text,
    /// It comes to nothing.
    Zeros,
    /// Half of it is smaller, in pieces.
    Both,
}

impl Stuff {
    const ALL: [Self; 4] = [Self::Noise, Self::Text, Self::Zeros, Self::Both];

    fn body(self, bytes: usize, seed: u64) -> Vec<u8> {
        match self {
            Self::Noise => noise(bytes, seed),
            Self::Text => {
                (0..).flat_map(|n| format!("{{\"line\": {n}}}\r\n").into_bytes()).take(bytes).collect()
            }
            Self::Zeros => vec![0; bytes],
            Self::Both => {
                let mut body = noise(bytes, seed);
                body.chunks_mut(4_000).step_by(2).for_each(|piece| piece.fill(b' '));
                body
            }
        }
    }
}

struct Sizes {
    world: World,
    destination: Destination,
    sent: u64,
}

impl Sizes {
    async fn start() -> Self {
        let (world, destination) = World::raw().await;
        Self { world, destination, sent: 0 }
    }

    /// Sends a body, sees it arrive, and says how large its frame is.
    async fn arrives(&mut self, stuff: Stuff, bytes: usize) -> usize {
        self.sent += 1;
        // As long for all, so that the frames of two bodies differ by the bodies only.
        let id = format!("size-{:06}", self.sent);
        let body = stuff.body(bytes, self.sent);
        let headers = [
            ("x-hookgate-token", "t0ken"),
            ("x-event-id", id.as_str()),
            ("content-type", "application/octet-stream"),
        ];
        let answer = self.world.post("/webhooks/raw", &headers, &body).await;
        assert_eq!(answer.status, 200, "{stuff:?} {bytes}: {answer:?}");
        self.world.wait_for("raw", &id, Status::Done).await;
        let stored = self.world.stored("raw", &id).await.unwrap();
        assert!(stored.request.body == body, "{stuff:?} {bytes}: stored differently");
        self.was_posted(&id, &body, 1);

        let key = self.world.entry("raw", &id).await.unwrap().key;
        let worker = &self.world.stack.worker;
        let ask = Ask { by: "ann", job: &id, again: true };
        let replayed = replay(&worker.store, &worker.queue, &key, ask, self.world.now()).await.unwrap();
        assert_eq!(replayed, Replayed::Queued, "{stuff:?} {bytes}");
        self.world.drive("it is posted once more", async || self.posts(&id).len() == 2).await;
        self.world.wait_for("raw", &id, Status::Done).await;
        self.was_posted(&id, &body, 2);
        encode(&stored, 0).unwrap().len()
    }

    fn posts(&self, id: &str) -> Vec<Vec<u8>> {
        let hits = self.destination.hits("/post").into_iter();
        hits.filter(|hit| hit.id() == id).map(|hit| hit.body).collect()
    }

    fn was_posted(&self, id: &str, body: &[u8], times: usize) {
        let posts = self.posts(id);
        assert_eq!(posts.len(), times, "{id}");
        assert!(posts.iter().all(|post| post == body), "{} bytes were passed on differently", body.len());
    }

    /// Bodies whose frames are one byte smaller than a limit, of its size, and one byte larger.
    async fn around(&mut self, limit: usize) {
        let mut bytes = limit - 1_000;
        let mut reached = BTreeSet::new();
        for target in [limit - 1, limit, limit + 1] {
            // The envelope has the body's length in it, and noise may compress by a byte.
            for _ in 0..4 {
                let frame = self.arrives(Stuff::Noise, bytes).await;
                reached.insert(frame);
                if frame == target {
                    break;
                }
                bytes = (bytes + target).checked_sub(frame).unwrap();
            }
        }
        let wanted = [limit - 1, limit, limit + 1];
        assert!(wanted.iter().all(|frame| reached.contains(frame)), "{reached:?} around {limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_sizes_small_bodies_of_any_stuff_come_back_from_everywhere() {
    let mut sizes = Sizes::start().await;
    for bytes in [0, 1, 2, 3, 127, 128, 1_023, 1_024, 4_096, 65_535, 65_536] {
        for stuff in Stuff::ALL {
            sizes.arrives(stuff, bytes).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_sizes_to_the_byte_at_the_limit_of_an_item() {
    Sizes::start().await.around(FRAME_BYTES_MAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_sizes_to_the_byte_at_the_limit_of_a_message() {
    Sizes::start().await.around(FRAME_IN_MESSAGE_BYTES_MAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_sizes_to_the_byte_at_the_limits_of_parts() {
    let mut sizes = Sizes::start().await;
    for parts in [2, 3] {
        sizes.around(parts * FRAME_BYTES_MAX).await;
    }
}

/// What an HTTP API takes (10 MB), and what Lambda hands over at most (6 MB, of which base64 is 4.5 MB).
#[tokio::test(flavor = "multi_thread")]
async fn flow_sizes_up_to_what_the_platform_takes() {
    let mut sizes = Sizes::start().await;
    for (stuff, bytes) in [
        (Stuff::Noise, 4_500_000),
        (Stuff::Text, 6 * 1024 * 1024),
        (Stuff::Zeros, BODY_BYTES_MAX),
        (Stuff::Noise, BODY_BYTES_MAX),
    ] {
        sizes.arrives(stuff, bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_sizes_by_chance() {
    let mut sizes = Sizes::start().await;
    // The same in every run; as many of each magnitude.
    let mut dice = noise(24 * 8, 5)
        .chunks(8)
        .map(|eight| u64::from_be_bytes(eight.try_into().unwrap()))
        .collect::<Vec<_>>();
    while let Some(roll) = dice.pop() {
        let magnitude = 1_usize << (roll % 22);
        let bytes = magnitude + usize::try_from(roll >> 32).unwrap() % magnitude;
        let stuff = Stuff::ALL[usize::try_from(roll >> 8).unwrap() % Stuff::ALL.len()];
        sizes.arrives(stuff, bytes).await;
    }
}
