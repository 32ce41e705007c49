"""Peers from Python, measured a round at a time.

Reads lines from standard input: `versions`, or `measure CASE PEER WORKERS QUICK`. Answers each with one line: the versions, or the
seconds that the round took and the number of operations (or bytes) in it. What a case needs, a pool say, is made in its first round and
ends with the case. `compare` runs this; its cases have the same names.
"""

import multiprocessing
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata

import numpy


def double(index):
    return index * 2


def add(pair):
    return pair[0] + pair[1]


def pid(_):
    return multiprocessing.current_process().pid


def part(argument):
    array, number = argument
    size = -(-len(array) // 8)
    return float(array[number * size : (number + 1) * size : 1000].sum())


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Pool:
    """`multiprocessing.Pool`."""

    def __init__(self, workers):
        self.pool = multiprocessing.Pool(workers)
        self.pool.map(double, range(100))

    def map(self, task, items, chunk=None):
        return self.pool.map(task, items, chunksize=chunk)

    def apply(self, task, item):
        return self.pool.apply(task, (item,))

    def in_flight(self, task, count):
        return [handle.get() for handle in [self.pool.apply_async(task, (index,)) for index in range(count)]]

    def close(self):
        self.pool.terminate()
        self.pool.join()


class Executor:
    """`ProcessPoolExecutor`, and loky's, which has the same interface."""

    def __init__(self, executor, workers):
        self.executor, self.workers = executor, workers
        list(self.executor.map(double, range(100)))

    def map(self, task, items, chunk=None):
        # Without a chunk it would send one item at a time: what Pool would choose is kinder.
        chunk = chunk or -(-len(items) // (4 * self.workers))
        return list(self.executor.map(task, items, chunksize=chunk))

    def apply(self, task, item):
        return self.executor.submit(task, item).result()

    def in_flight(self, task, count):
        return [handle.result() for handle in [self.executor.submit(task, index) for index in range(count)]]

    def close(self):
        self.executor.shutdown()


class Joblib:
    def __init__(self, workers):
        import joblib

        self.delayed = joblib.delayed
        self.parallel = joblib.Parallel(n_jobs=workers)
        self.parallel.__enter__()
        self.map(double, range(100))

    def map(self, task, items, chunk=None):
        return self.parallel(self.delayed(task)(item) for item in items)

    def apply(self, task, item):
        return self.map(task, [item])[0]

    def in_flight(self, task, count):
        return self.map(task, range(count))

    def close(self):
        self.parallel.__exit__(None, None, None)


class Mpire:
    def __init__(self, workers):
        import mpire

        self.pool = mpire.WorkerPool(n_jobs=workers)
        self.map(double, range(100))

    def map(self, task, items, chunk=None):
        # A tuple would be taken for several arguments.
        if isinstance(items[0], tuple):
            items = [(item,) for item in items]
        return self.pool.map(task, items, chunk_size=chunk)

    def apply(self, task, item):
        return self.pool.apply(task, (item,))

    def in_flight(self, task, count):
        return [handle.get() for handle in [self.pool.apply_async(task, (index,)) for index in range(count)]]

    def close(self):
        self.pool.terminate()


def make_pool(peer, workers):
    if peer == "multiprocessing.Pool":
        return Pool(workers)
    if peer == "ProcessPoolExecutor":
        return Executor(ProcessPoolExecutor(workers), workers)
    if peer == "loky":
        import loky

        return Executor(loky.ProcessPoolExecutor(workers), workers)
    return {"joblib": Joblib, "mpire": Mpire}[peer](workers)


class Tasks:
    """Calls over items. Peers that are slow get fewer items: the figure is for one."""

    def __init__(self, case, peer, workers, quick):
        self.case, self.pool, self.quick = case, make_pool(peer, workers), quick
        self.is_slow = peer in ("joblib", "mpire")

    def round(self):
        return getattr(self, self.case.replace("-", "_"))()

    def map_indices(self):
        count = 20_000 if self.is_slow else 200_000 if self.quick else 1_000_000
        return seconds(lambda: self.pool.map(double, range(count))), count

    def map_chunk_1(self):
        count = 1_000 if self.quick else 5_000
        return seconds(lambda: self.pool.map(double, range(count), 1)), count

    def map_tuples(self):
        count = 20_000 if self.is_slow else 200_000 if self.quick else 1_000_000
        items = [(index, index + 1) for index in range(count)]
        return seconds(lambda: self.pool.map(add, items)), count

    def apply(self):
        count = 50 if self.quick else 200
        times = sorted(seconds(lambda: self.pool.apply(double, 7)) for _ in range(count))
        return times[count // 2], 1

    def in_flight(self):
        return seconds(lambda: self.pool.in_flight(double, 256)), 256

    def array_100mb_copied(self):
        array = numpy.ones(12_500_000)
        return seconds(lambda: self.pool.map(part, [(array, number) for number in range(8)], 1)), 1

    def close(self):
        self.pool.close()


class Start:
    """Four workers that answer, by a start method."""

    def __init__(self, _case, method, _workers, _quick):
        self.context = multiprocessing.get_context(method)

    def round(self):
        def start():
            pool = self.context.Pool(4)
            pool.map(double, range(4), 1)
            pools.append(pool)

        pools = []
        time = seconds(start)
        pools[0].terminate()
        pools[0].join()
        return time, 1

    def close(self):
        pass


shared = None


def keep(array):
    global shared
    shared = array


def fill(rows):
    view = numpy.frombuffer(shared, dtype=numpy.float64).reshape(-1, 1024)
    view[rows[0] : rows[1]] = rows[0]


class Populate:
    """A `RawArray` seen as a matrix, filled by blocks of rows."""

    def __init__(self, case, _peer, workers, _quick):
        self.is_new, self.workers, self.bytes = case == "populate-new", workers, 1 << 30
        self.blocks = [(row, row + 256) for row in range(0, self.bytes // 8192, 256)]
        self.pool = None if self.is_new else self.make()

    def make(self):
        array = multiprocessing.RawArray("d", self.bytes // 8)
        return multiprocessing.Pool(self.workers, keep, (array,))

    def round(self):
        def new():
            with self.make() as pool:
                pool.map(fill, self.blocks)

        if self.is_new:
            return seconds(new), self.bytes
        return seconds(lambda: self.pool.map(fill, self.blocks)), self.bytes

    def close(self):
        if self.pool:
            self.pool.terminate()
            self.pool.join()


class Program:
    """The program of the documentation: a matrix of 2000 x 10 in a `RawArray`, filled by four workers; without the interpreter's start."""

    def __init__(self, _case, _peer, _workers, _quick):
        pass

    def round(self):
        def program():
            array = multiprocessing.RawArray("d", 2000 * 10)
            with multiprocessing.Pool(4, keep, (array,)) as pool:
                pool.map(fill_rows, range(0, 2000, 100))

        return seconds(program), 1

    def close(self):
        pass


def fill_rows(row):
    numpy.frombuffer(shared, dtype=numpy.float64).reshape(2000, 10)[row : row + 100] = row


class Lock:
    def __init__(self, _case, _peer, _workers, quick):
        self.lock, self.count = multiprocessing.Lock(), 20_000 if quick else 200_000

    def round(self):
        def lock():
            for _ in range(self.count):
                with self.lock:
                    pass

        return seconds(lock), self.count

    def close(self):
        pass


class Value:
    def __init__(self, _case, _peer, _workers, quick):
        self.value, self.count = multiprocessing.Value("q", 0), 10_000 if quick else 100_000

    def round(self):
        def add():
            for _ in range(self.count):
                with self.value.get_lock():
                    self.value.value += 1

        return seconds(add), self.count

    def close(self):
        pass


class Managed:
    """Objects of a manager, used by this process alone."""

    def __init__(self, case, _peer, _workers, quick):
        self.manager, self.count = multiprocessing.Manager(), 500 if quick else 2_000
        make = {"manager-queue": self.use_queue, "manager-dict": self.use_dict, "manager-lock": self.use_lock}
        self.step = make[case]()
        self.step(0)

    def use_queue(self):
        queue = self.manager.Queue()

        def step(number):
            queue.put(number)
            queue.get()

        return step

    def use_dict(self):
        entries = self.manager.dict()

        def step(number):
            entries[number % 100] = number

        return step

    def use_lock(self):
        lock = self.manager.Lock()

        def step(_):
            lock.acquire()
            lock.release()

        return step

    def round(self):
        def steps():
            for number in range(self.count):
                self.step(number)

        return seconds(steps), self.count

    def close(self):
        self.manager.shutdown()


def produce(queue, count, size):
    message = 7 if size == 8 else bytes(size)
    for _ in range(count):
        queue.put(message)


def pong(there, back, count):
    for _ in range(count):
        back.put(there.get())


class Queue:
    """From a process to this one."""

    def __init__(self, case, peer, _workers, quick):
        self.case, self.manager = case, None
        self.is_managed = peer.startswith("manager")
        if self.is_managed:
            self.manager = multiprocessing.Manager()
            self.make = self.manager.Queue
        elif peer == "multiprocessing.Queue":
            self.make = multiprocessing.Queue
        else:
            self.make = multiprocessing.SimpleQueue
        self.scale = (1 if quick else 5) * (1 if not self.is_managed else 0.2)

    def round(self):
        if self.case == "ping-pong":
            return self.ping_pong()
        size = {"queue-8": 8, "queue-1k": 1 << 10, "queue-1m": 1 << 20}[self.case]
        count = max(4, int((20 if size == 1 << 20 else 4_000) * self.scale))
        queue = self.make()
        other = multiprocessing.Process(target=produce, args=(queue, count, size))

        def stream():
            for _ in range(count - 1):
                queue.get()

        other.start()
        # The first message shows that the process runs.
        queue.get()
        time = seconds(stream)
        other.join()
        return time, (count - 1) * (size if size == 1 << 20 else 1)

    def ping_pong(self):
        count = int(1_000 * self.scale)
        there, back = self.make(), self.make()
        other = multiprocessing.Process(target=pong, args=(there, back, count + 1))

        def play():
            for number in range(count):
                there.put(number)
                back.get()

        other.start()
        there.put(0)
        back.get()
        time = seconds(play)
        other.join()
        return time, count

    def close(self):
        if self.manager:
            self.manager.shutdown()


def runner(case):
    if case == "start-4":
        return Start
    if case in ("populate-new", "populate-again"):
        return Populate
    if case == "program":
        return Program
    if case == "lock":
        return Lock
    if case == "shared-value":
        return Value
    if case.startswith("manager-"):
        return Managed
    if case.startswith("queue-") or case == "ping-pong":
        return Queue
    return Tasks


def versions():
    packages = ["joblib", "loky", "mpire", "numpy"]
    return ", ".join([f"Python {platform.python_version()}"] + [f"{name} {metadata.version(name)}" for name in packages])


def main():
    # What workers print must not mix with the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    running = {}
    for line in sys.stdin:
        words = line.split()
        if words == ["versions"]:
            answer = versions()
        else:
            _, case, peer, workers, quick = words
            for key in [key for key in running if key[0] != case]:
                running.pop(key).close()
            if (case, peer) not in running:
                running[case, peer] = runner(case)(case, peer, int(workers), quick == "1")
            time, count = running[case, peer].round()
            answer = f"{time} {count}"
        print(answer, file=answers, flush=True)
    for measured in running.values():
        measured.close()


if __name__ == "__main__":
    main()
