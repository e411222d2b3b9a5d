//! Bodies of every size, through the whole pipeline: table, queue, worker, destination.

use hookgate_aws::schema::FRAME_BYTES_MAX;
use hookgate_core::{codec::FRAME_IN_MESSAGE_BYTES_MAX, lifecycle::Status};

use crate::harness::{World, noise};

/// The envelope around a body in a frame: with the bodies before and after it, both sides of every limit are met.
const AROUND: [isize; 5] = [-600, -300, -150, 0, 150];

fn around(limit: usize) -> impl Iterator<Item = usize> {
    AROUND.into_iter().filter_map(move |by| limit.checked_add_signed(by))
}

async fn all_arrive(sizes: impl Iterator<Item = usize>, body: impl Fn(usize) -> Vec<u8>) {
    let (world, destination) = World::raw().await;
    for size in sizes {
        let (id, body) = (format!("b{size}"), body(size));
        let headers = [
            ("x-hookgate-token", "t0ken"),
            ("x-event-id", id.as_str()),
            ("content-type", "application/octet-stream"),
        ];

        let answer = world.post("/webhooks/raw", &headers, &body).await;

        assert_eq!(answer.status, 200, "{size}: {answer:?}");
        world.wait_for("raw", &id, Status::Done).await;
        let stored = world.stored("raw", &id).await.map(|event| event.request.body);
        assert!(stored.as_ref() == Some(&body), "{size} bytes were stored differently");
        let hits = destination.hits("/post");
        let ours: Vec<_> = hits.iter().filter(|hit| hit.id() == id).collect();
        assert_eq!(ours.len(), 1, "{size}");
        assert!(ours.iter().all(|hit| hit.body == body), "{size} bytes were passed on differently");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_small_bodies_arrive_byte_for_byte() {
    all_arrive([0, 1, 2, 255, 1_000, 10_000, 100_000].into_iter(), |size| noise(size, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_bodies_around_the_limit_of_an_item_arrive_byte_for_byte() {
    all_arrive(around(FRAME_BYTES_MAX), |size| noise(size, 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_bodies_around_the_limit_of_a_message_arrive_byte_for_byte() {
    all_arrive(around(FRAME_IN_MESSAGE_BYTES_MAX).chain(around(2 * FRAME_BYTES_MAX)), |size| noise(size, 3))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_bodies_of_megabytes_arrive_byte_for_byte() {
    all_arrive([1_048_576, 2_500_000, 5 * 1024 * 1024].into_iter(), |size| noise(size, 4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flow_large_bodies_that_compress_well_arrive_byte_for_byte() {
    all_arrive([400_000, 5 * 1024 * 1024].into_iter(), |size| {
        b"{\"line\": \"of text\"}\n".iter().copied().cycle().take(size).collect()
    })
    .await;
}
