//go:build !race

package ext

const raceDetector = false
