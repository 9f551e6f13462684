//go:build race

package fiotest

const raceEnabled = true
