"""What a batch would take, before anything is paid: validate every line, estimate money, time and requests."""
