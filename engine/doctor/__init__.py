"""Whether everything that a run needs is as it must be: key, account, network, clock, disk, machine."""
