//go:build race

package ext

// raceDetector takes several times the memory and time.
const raceDetector = true
