//go:build race

package nvmepci_test

const raceEnabled = true
