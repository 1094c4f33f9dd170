"""Every figure that the README states, each by one command, next to a peer in the same run.

    python -m benchmarks list
    python -m benchmarks NAME [--json] [--rounds N] [--quick]

A benchmark is a module in this folder with a docstring (its first line is its title in the list) and

    def run(options: Options) -> list[Figure]

which measures ours and the peers in alternating rounds (:func:`benchmarks.sampling.alternate`), so that a busy machine
hits both alike, and says what was aimed at (:class:`benchmarks.figure.Target`). Its name on the command line is
the module's, with dashes. The run fails (exit status 1) when a target is not met; ``--json`` prints one line.

    from benchmarks.figure import Figure, Options, Target
    from benchmarks.sampling import alternate, cpu_us

    def run(options: Options) -> list[Figure]:
        taken = alternate(options.rounds, ours=lambda: cpu_us(ours, 10_000), theirs=lambda: cpu_us(theirs, 10_000))
        return [
            Figure("one event", "us", taken["ours"], peer=("theirs", taken["theirs"]), targets=(Target(at_most=3.0),))
        ]

Whatever starts a platform, a node or a server stops it before ``run`` returns, and writes into temporary folders only.
"""
