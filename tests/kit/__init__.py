"""What the tests of real processes share: an nginx, a scriptable origin, minicdn's own processes, clients, and waiting.

Three rules hold throughout. Processes are started and ended by their own pid. Waiting is polling a condition up to a
deadline, and a wait that fails says what it waited for and what the processes printed. Ports are free ones on loopback.
"""
