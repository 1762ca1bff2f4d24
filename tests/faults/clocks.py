"""The computer's clock is set back and forth."""

from __future__ import annotations

from tests.faults.lab import Lab, case, same

DAY = 86400


@case(6)
def clock_jumps(lab: Lab, count: int) -> str:
    """The clock goes a day on or back while a job is made: it is made once, and all frames come."""
    clock = lab.folder / "clock"
    clock.write_text("0")
    server = lab.server(program=["-m", "tests.faults.posedub"], POSEDUB_FAULT="clock", POSEDUB_CLOCK=str(clock)).start()
    for number in range(count):
        request, seen = lab.request(lab.seed(), 300), 0
        from model_server.service.remote import Address, RemoteServer

        with RemoteServer(Address(server.address)) as remote:
            job, got = lab.submit(remote, request), {}
            for event in remote.events(job):
                if type(event).__name__ == "FrameMade":
                    got[event.index] = event.png
                    seen += 1
                    if seen == 3:
                        temporary = clock.with_suffix(".new")
                        temporary.write_text(str((DAY, -DAY, 0)[number % 3]))
                        temporary.replace(clock)
        same(got, lab.expected(request))
    assert server.log.read_text().count(": started") == count
    server.stop()
    return "each job made once, byte-identical"
