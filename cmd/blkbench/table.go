package main

// The table of verbs. It is filled at the start of the program, since the verbs' functions refer to it.
func verbTable() []verb {
	return []verb{
		{name: "probe", summary: "what this kernel's io_uring offers", usage: "", run: runProbe},
		{name: "version", summary: "the version and the facts of the build", usage: "[-v]", run: runVersion},
		{name: "man", summary: "writes the manual page to the standard output", usage: "> blkbench.1", run: runMan},
		{name: "completion", summary: "writes a completion script", usage: "bash|zsh|fish", run: runCompletion},
	}
}
