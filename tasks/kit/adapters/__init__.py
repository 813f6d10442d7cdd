"""What extends and calls the libraries of models. Its modules import those, so they are imported inside functions only.

One module a provider, each with `connect(choice, environ)`; `metered` counts what a job uses, and `prices` knows what it costs.
"""

#: Longest wait for a connection, in seconds.
CONNECT = 10
#: Longest silence of a provider, in seconds. An answer that is not streamed is silent until it is whole, and a model that
#: thinks may take minutes; the job's own time limit ends what takes too long altogether.
SILENCE = 300
#: Requests of one job that may be under way at a time.
CONNECTIONS = 40
