//go:build !amd64 && !arm64

package clock

const counterName = "none"

func distrust() string { return "no counter is known for this architecture" }
