//! What is rendered: names, kinds, help with its unit, labels, figures.

use std::time::Duration;

use super::*;

#[test]
fn every_metric_is_rendered_with_help_type_and_unit() {
    let metrics = Metrics::new();
    let _operations = metrics.operations("default");
    let tenant = metrics.tenant(&"acme".into());
    let _figures = (tenant.clients(), tenant.requests(Route::Link), tenant.refused(Refused::NoPerm));
    let text = metrics.render();
    for metric in METRICS {
        let Metric { name, unit, help, .. } = metric;
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        assert!(text.contains(&format!("# HELP {name} {help} Unit: {unit}.\n")), "help of {name} in\n{text}");
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "type of {name}");
        assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert!(help.ends_with(['.']) && !unit.is_empty(), "{name}");
    }
    assert_eq!(text.matches("# TYPE ").count(), METRICS.len(), "nothing that the list does not have");
}

#[test]
fn an_operation_is_counted_under_its_status_and_timed() {
    let metrics = Metrics::new();
    let operations = metrics.operations("acme");
    operations.record(Operation::Reserve, Status::Ok, Duration::from_micros(80), 3);
    metrics.operations("acme").record(Operation::Reserve, Status::Ok, Duration::from_millis(3), 1);
    operations.record(Operation::Reserve, Status::InsufficientStock, Duration::from_secs(9), 2);
    operations.record(Operation::Stock, Status::UnknownSku, Duration::ZERO, 1);
    operations.reservations_expired.increment(5);
    let text = metrics.render();
    for line in [
        r#"inventory_sentinel_reserve_total{namespace="acme",operation="reserve",status="ok"} 4"#,
        r#"inventory_sentinel_reserve_total{namespace="acme",operation="reserve",status="insufficient_stock"} 2"#,
        r#"inventory_sentinel_commit_total{namespace="acme",operation="commit",status="ok"} 0"#,
        r#"inventory_sentinel_rollback_total{namespace="acme",operation="rollback",status="ok"} 0"#,
        r#"inventory_sentinel_operations_total{namespace="acme",operation="reserve",status="ok"} 4"#,
        r#"inventory_sentinel_operations_total{namespace="acme",operation="stock",status="unknown_sku"} 1"#,
        r#"inventory_sentinel_reservations_expired_total{namespace="acme"} 5"#,
        r#"inventory_sentinel_operation_duration_seconds_bucket{namespace="acme",operation="reserve",le="0.00005"} 0"#,
        r#"inventory_sentinel_operation_duration_seconds_bucket{namespace="acme",operation="reserve",le="0.0001"} 3"#,
        r#"inventory_sentinel_operation_duration_seconds_bucket{namespace="acme",operation="reserve",le="5"} 4"#,
        r#"inventory_sentinel_operation_duration_seconds_bucket{namespace="acme",operation="reserve",le="+Inf"} 6"#,
        r#"inventory_sentinel_operation_duration_seconds_count{namespace="acme",operation="reserve"} 6"#,
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} in\n{text}");
    }
    assert!(!text.contains(r#"status="limit""#), "a status appears when it is first met");
}

#[test]
fn the_sidecars_own_figures_are_counted_under_their_labels() {
    let metrics = Metrics::new();
    metrics.clients.increment(2.0);
    metrics.clients.decrement(1.0);
    metrics.clients_total.increment(2);
    metrics.requests[Route::Pinned].increment(3);
    metrics.for_thread().requests[Route::Pinned].increment(4);
    metrics.upstream_connections[ConnectionKind::Pool].set(2.0);
    metrics.batch_operations.record(3.0);
    metrics.batch_round_trip.record(0.0002);
    metrics.pool_wait.record(0.0);
    metrics.reconnects[ConnectionKind::Link].increment(1);
    metrics.retries.increment(4);
    metrics.for_thread().bytes[Direction::UpstreamOut].increment(400);
    metrics.for_thread().bytes[Direction::UpstreamOut].increment(600);
    metrics.upstream_up.set(1.0);
    metrics.queue_operations.set(9.0);
    metrics.error(ErrorOrigin::Client, ErrorKind::SlowReader);
    let text = metrics.clone().render();
    for line in [
        "clients 1",
        "clients_total 2",
        "requests_total{route=\"pinned\"} 7",
        "requests_total{route=\"local\"} 0",
        "upstream_connections{kind=\"pool\"} 2",
        "batch_operations_bucket{le=\"2\"} 0",
        "batch_operations_bucket{le=\"4\"} 1",
        "batch_round_trip_seconds_bucket{le=\"0.00025\"} 1",
        "pool_wait_seconds_count 1",
        "reconnects_total{kind=\"link\"} 1",
        "retries_total 4",
        "bytes_total{direction=\"upstream_out\"} 1000",
        "upstream_up 1",
        "queue_operations 9",
        "errors_total{origin=\"client\",kind=\"slow_reader\"} 1",
        concat!("build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.contains(&format!("\ninventory_sentinel_{line}\n")), "{line} in\n{text}");
    }
}

#[test]
fn figures_read_back_are_those_that_were_recorded() {
    let metrics = Metrics::new();
    let (ours, theirs) = (metrics.operations("ours"), metrics.operations("theirs"));
    let none = metrics.figures("ours");
    assert!((none.batches, none.upstream_up, none.operations_per_batch()) == (0, false, 0.0), "{none:?}");
    for (status, n) in [(Status::Ok, 5), (Status::InsufficientStock, 2), (Status::Expired, 1), (Status::Uncertain, 4)] {
        ours.record(Operation::Reserve, status, Duration::ZERO, n);
    }
    ours.record(Operation::Protect, Status::Ok, Duration::ZERO, 1);
    ours.record(Operation::Unprotect, Status::Ok, Duration::ZERO, 2);
    theirs.record(Operation::Reserve, Status::Ok, Duration::ZERO, 100);
    ours.reservations_expired.increment(3);
    theirs.reservations_expired.increment(7);
    metrics.clients.increment(2.0);
    metrics.clients_total.increment(9);
    metrics.pinned_clients.increment(1.0);
    for (kind, count) in [(ConnectionKind::Link, 2.0), (ConnectionKind::Pinned, 3.0), (ConnectionKind::Pool, 4.0)] {
        metrics.upstream_connections[kind].set(count);
    }
    [3.0, 4.0].into_iter().for_each(|operations| metrics.batch_operations.record(operations));
    metrics.retries.increment(6);
    metrics.upstream_up.set(1.0);
    metrics.queue_operations.set(8.0);
    let figures = metrics.clone().figures("ours");
    let of = |wanted: Operation| figures.operations.iter().find(|(operation, _)| *operation == wanted).unwrap().1;
    assert_eq!(of(Operation::Reserve), Ended { ok: 5, refused: 3, uncertain: 4 });
    assert_eq!((of(Operation::Protect).ok, of(Operation::Unprotect).ok, of(Operation::Commit).ok), (1, 2, 0));
    assert_eq!((figures.clients, figures.pinned_clients, figures.reservations_expired), (2, 1, 3));
    assert_eq!((figures.links, figures.pinned, figures.pool), (2, 3, 4));
    assert_eq!((figures.batches, figures.batch_operations, figures.operations_per_batch()), (2, 7, 3.5));
    assert_eq!((figures.retries, figures.queue_operations, figures.upstream_up), (6, 8, true));
}

#[test]
fn two_sidecars_in_one_process_count_apart() {
    let (one, other) = (Metrics::new(), Metrics::new());
    one.retries.increment(1);
    assert!(one.render().contains("inventory_sentinel_retries_total 1\n"));
    assert!(other.render().contains("inventory_sentinel_retries_total 0\n"));
}

#[test]
fn a_labels_index_is_its_place() {
    fn check<L: Label>() {
        for (place, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), place, "{}", label.word());
        }
    }
    check::<Operation>();
    check::<Status>();
    check::<Route>();
    check::<ConnectionKind>();
    check::<Direction>();
    check::<ErrorOrigin>();
    check::<ErrorKind>();
}
