"""Work on files of strangers in processes that can only read that one file, compute within limits, and answer.

`client.answer` and `client.answers` call a function in such a process; `fork_server` makes the processes, `limits` says
what they may, `channel` carries what they say. Where the system offers no such limits the function runs right here.
"""
