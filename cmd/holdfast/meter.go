package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
)

// plainEvery is how often progress is told where there is no terminal.
const plainEvery = 5 * time.Second

// barAfter is when a bar appears: rates of the first instant say nothing.
const barAfter = time.Second

// meter shows how far something has come: a bar on a terminal, a line every
// few seconds elsewhere. set is cheap and may be called by many goroutines.
type meter struct {
	k           *console
	what, phase string // guarded by the console's lock
	bytes       bool   // counts bytes, else things
	began       time.Time
	done, total atomic.Int64
	bar         *progressbar.ProgressBar // nil: plain lines

	stop chan struct{}
	wait sync.WaitGroup
}

// measure shows the progress of do, which counts bytes (or, when not bytes, things);
// quiet shows none.
func (k *console) measure(what string, bytes, quiet bool, do func(set func(done, total int64)) error) error {
	if quiet {
		return do(func(int64, int64) {})
	}
	m := k.begin(what, bytes)
	defer m.close()
	return do(m.set)
}

// begin shows progress until the meter that it returns is closed.
func (k *console) begin(what string, bytes bool) *meter {
	m := &meter{k: k, what: what, bytes: bytes, began: time.Now(), stop: make(chan struct{})}
	every := plainEvery
	if k.terminal {
		m.bar, every = m.newBar(), 100*time.Millisecond
	}
	k.mu.Lock()
	k.meter = m
	k.mu.Unlock()
	m.wait.Add(1)
	go m.loop(every)
	return m
}

// phase tells what is being done now, beside how far it has come.
func (k *console) phase(what, phase string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.meter == nil || phase == k.meter.phase {
		return
	}
	m := k.meter
	m.phase, m.what = phase, what
	if phase != "" {
		m.what = what + ", " + phase
	}
	if m.bar != nil {
		m.bar.Describe(m.what)
	}
}

func (m *meter) set(done, total int64) {
	m.done.Store(done)
	m.total.Store(total)
}

func (m *meter) close() {
	close(m.stop)
	m.wait.Wait()
	m.k.mu.Lock()
	defer m.k.mu.Unlock()
	m.clear()
	m.k.meter = nil
}

func (m *meter) loop(every time.Duration) {
	defer m.wait.Done()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-m.stop:
			return
		case now := <-tick.C:
			m.k.mu.Lock()
			m.show(now)
			m.k.mu.Unlock()
		}
	}
}

// show draws; the console's lock is held.
func (m *meter) show(now time.Time) {
	done, total := m.done.Load(), m.total.Load()
	if m.bar == nil {
		fmt.Fprintln(m.k.err, m.plain(done, total, now.Sub(m.began)))
		return
	}
	if total > 0 && now.Sub(m.began) >= barAfter {
		if m.bar.GetMax64() != total {
			m.bar.ChangeMax64(total)
		}
		m.bar.Set64(min(done, total-1)) // the last step would end the bar
	}
}

// clear takes the bar off the screen; the console's lock is held.
func (m *meter) clear() {
	if m.bar != nil {
		m.bar.Clear()
	}
}

// plain is a line that says how far it has come, how fast and for how long.
func (m *meter) plain(done, total int64, after time.Duration) string {
	write := formatSize
	if !m.bytes {
		write = func(n int64) string { return fmt.Sprint(n) }
	}
	if total <= 0 {
		return fmt.Sprintf("%s: %s", m.what, write(done))
	}
	text := fmt.Sprintf("%s: %s of %s (%d%%)", m.what, write(done), write(total), int(100*float64(done)/float64(total)))
	if done <= 0 || after <= 0 {
		return text
	}
	rate := float64(done) / after.Seconds()
	if m.bytes {
		text += fmt.Sprintf(", %s/s", formatSize(int64(rate)))
	}
	left := time.Duration(float64(total-done) / rate * float64(time.Second))
	return text + fmt.Sprintf(", %s left", left.Round(time.Second))
}

func (m *meter) newBar() *progressbar.ProgressBar {
	options := []progressbar.Option{
		progressbar.OptionSetWriter(m.k.err),
		progressbar.OptionSetDescription(m.what),
		progressbar.OptionSetWidth(20),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionShowCount(),
	}
	if m.bytes {
		options = append(options, progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true))
	}
	bar := progressbar.NewOptions64(1, options...)
	bar.StartWithoutRender() // time counts from here, not from the first look
	return bar
}
