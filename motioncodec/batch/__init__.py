"""Many inputs, one command: what they are, who works on them, and what is noted of each.

inputs     words of the command line to inputs: files, folders, patterns, members of archives
running    one after another, in processes of this machine, or on the workers of a cluster
manifest   a line of JSON for each
"""
