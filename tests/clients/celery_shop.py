"""A shop's Celery: broker, results and remote control on the sidecar.

celery_shop.py HOST PORT TENANT PASSWORD starts a worker as its child and lives through tasks with it: results, groups, a chord,
retries, a countdown, errors, and what workers are told by all at once (fanout). All tenants have the same queue and task names.
Says "ready" when its worker is, and goes on when it is told.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

from celery import Celery, chord, group
from celery.exceptions import TimeoutError as Late

HOST, PORT, TENANT, PASSWORD = sys.argv[1:5] if __name__ == "__main__" else os.environ["SHOP"].split()
URL = f"redis://{TENANT}:{PASSWORD}@{HOST}:{PORT}/0"
PATIENCE = 40

app = Celery("shop", broker=URL, backend=URL)
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 3600},
    result_expires=600,
)


@app.task(name="price", bind=True)
def price(task, tenant, number):
    if tenant != TENANT:
        raise RuntimeError(f"{TENANT} was given a task of {tenant}'s")
    return [TENANT, number * 2]


@app.task(name="stubborn", bind=True, max_retries=3)
def stubborn(task, number):
    if task.request.retries < 2:
        raise task.retry(countdown=0)
    return [TENANT, number, task.request.retries]


@app.task(name="hopeless")
def hopeless():
    raise ValueError(f"never, says {TENANT}")


@app.task(name="total")
def total(prices):
    return [TENANT, sum(price for _, price in prices)]


def expect(what, got, wanted):
    if got != wanted:
        sys.exit(f"{TENANT}, {what}: wanted {wanted!r}, got {got!r}")


def live():
    """Tasks of each kind; how many they were."""
    jobs = group(price.s(TENANT, number) for number in range(100))().get(timeout=PATIENCE)
    expect("a group", jobs, [[TENANT, number * 2] for number in range(100)])
    tried = [stubborn.delay(number) for number in range(10)]
    late = price.apply_async((TENANT, 1), countdown=0.2)
    urgent = [price.apply_async((TENANT, number), priority=number) for number in range(10)]
    expect("a chord", chord((price.s(TENANT, n) for n in range(10)), total.s())().get(timeout=PATIENCE), [TENANT, 90])
    expect("a chain", (price.s(TENANT, 4) | price.si(TENANT, 5))().get(timeout=PATIENCE), [TENANT, 10])
    for number, result in enumerate(tried):
        expect("tried again", result.get(timeout=PATIENCE), [TENANT, number, 2])
    for number, result in enumerate(urgent):
        expect("urgent", result.get(timeout=PATIENCE), [TENANT, number * 2])
    expect("late", late.get(timeout=PATIENCE), [TENANT, 2])
    try:
        hopeless.delay().get(timeout=PATIENCE)
        sys.exit("hopeless ended well")
    except ValueError as error:
        expect("an error", str(error), f"never, says {TENANT}")
    late.forget()
    return 100 + 10 + 1 + 10 + 11 + 2 + 1


def control():
    """What goes to all workers: each tenant has one, and its own."""
    answers = app.control.ping(timeout=PATIENCE, limit=1)
    expect("ping", answers, [{f"{TENANT}@shop": {"ok": "pong"}}])
    known = app.control.inspect(timeout=PATIENCE, limit=1).registered()
    expect("inspect", list(known), [f"{TENANT}@shop"])


def wait_for_worker(worker):
    """Until it answers: what was asked before it listened is lost."""
    end = time.monotonic() + PATIENCE
    while not app.control.ping(timeout=0.5, limit=1):
        if worker.poll() is not None or time.monotonic() > end:
            sys.exit(f"the worker did not come: {worker.poll()}")


def end_with_parent():
    """Also where that is killed."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main():
    environment = {**os.environ, "SHOP": " ".join(sys.argv[1:5])}
    command = [sys.executable, "-m", "celery", "-A", "celery_shop", "worker", "--pool", "threads", "--concurrency", "4"]
    command += ["--hostname", f"{TENANT}@shop", "--loglevel", "WARNING"]
    worker = subprocess.Popen(command, env=environment, preexec_fn=end_with_parent)
    try:
        wait_for_worker(worker)
        print("ready", flush=True)
        sys.stdin.readline()
        tasks = live()
        control()
        print("half", flush=True)
        sys.stdin.readline()
        tasks += live()
        expect("what is purged", app.control.purge(), 0)
        app.control.shutdown()
        expect("the worker's end", worker.wait(PATIENCE), 0)
    finally:
        worker.kill()
        worker.wait()
    print(TENANT, tasks, "tasks")


if __name__ == "__main__":
    try:
        main()
    except Late as late:
        sys.exit(f"{TENANT}: not in time: {late}")
