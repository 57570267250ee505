"""Many machines: downloads leave the process, money and limits stay."""
