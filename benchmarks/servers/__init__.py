"""Echo servers to be measured, one file for each library. Each file knows its library's best settings, and no other."""
