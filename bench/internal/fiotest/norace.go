//go:build !race

package fiotest

const raceEnabled = false
