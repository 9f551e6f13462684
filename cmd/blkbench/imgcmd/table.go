package imgcmd

// commands is the list of verbs, in the order of help.
func commands() []command {
	return []command{
		createVerb(),
		infoVerb(),
		convertVerb(),
		compareVerb(),
		ddVerb(),
		rebaseVerb(),
		commitVerb(),
		benchVerb(),
		checkVerb(),
		mapVerb(),
		measureVerb(),
		resizeVerb(),
		snapshotVerb(),
		amendVerb(),
		bitmapVerb(),
	}
}

func lookup(name string) *command {
	for _, cmd := range commands() {
		if cmd.name == name {
			return &cmd
		}
	}
	return nil
}
