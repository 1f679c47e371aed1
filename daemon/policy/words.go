package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MinEvery is the shortest time between runs.
const MinEvery = 5 * time.Minute

const wordsHint = "write, for example, `daily at 22:00`, `every 4h`, `weekly on sunday at 03:00`, `monthly on 1 at 04:00`, or a cron expression"

// words reads a schedule in words, lower-case.
func (s *Schedule) words(text string) error {
	first, rest, _ := strings.Cut(text, " ")
	if first == "every" {
		return s.readEvery(rest)
	}
	if first == "hourly" && rest == "" {
		return s.add("0 * * * *", false)
	}
	days, at, timed := strings.Cut(" "+rest, " at ")
	days = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(days), "on "))
	if !timed {
		at = "00:00"
	}
	times, err := readTimes(at)
	if err != nil {
		return err
	}
	dom, dow, last := "*", "*", false
	switch {
	case first == "daily" && days == "":
	case first == "weekdays" && days == "":
		dow = "1-5"
	case first == "weekends" && days == "":
		dow = "0,6"
	case first == "weekly":
		dow, err = readDays(days)
	case first == "monthly":
		dom, last, err = readDayOfMonth(days)
	default:
		err = fmt.Errorf("it is not understood: %s", wordsHint)
	}
	for _, t := range times {
		if err == nil {
			err = s.add(fmt.Sprintf("%d %d %s * %s", t%60, t/60, dom, dow), last)
		}
	}
	return err
}

func (s *Schedule) readEvery(span string) error {
	if slices.Contains([]string{"minute", "hour", "day", "week"}, span) {
		span = "1" + span
	}
	d, err := ParseSpan(span)
	if err != nil {
		return err
	}
	if d < MinEvery || d%time.Second != 0 {
		return fmt.Errorf("every %s is too often: choose at least %s", FormatSpan(d), FormatSpan(MinEvery))
	}
	s.every = d
	return nil
}

// list takes apart what is joined by commas and `and`.
func list(text string) []string {
	return strings.FieldsFunc(strings.ReplaceAll(text, " and ", ","), func(r rune) bool { return r == ',' || r == ' ' })
}

// readTimes reads times of day, in minutes.
func readTimes(text string) (times []int, err error) {
	for _, word := range list(text) {
		t, err := readTime(word)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(times, t) {
			times = append(times, t)
		}
	}
	if len(times) == 0 || len(times) > 24 {
		return nil, fmt.Errorf("%d times of day: %s", len(times), wordsHint)
	}
	return times, nil
}

// readTime reads a time of day such as 22:00, in minutes.
func readTime(word string) (int, error) {
	h, m, ok := strings.Cut(word, ":")
	hour, err1 := strconv.ParseUint(h, 10, 8)
	minute, err2 := strconv.ParseUint(m, 10, 8)
	if !ok || err1 != nil || err2 != nil || hour > 23 || minute > 59 || len(m) != 2 || len(h) > 2 {
		return 0, fmt.Errorf("%.20q is no time of day such as 22:00", word)
	}
	return int(hour*60 + minute), nil
}

// readDays reads days of the week.
func readDays(text string) (string, error) {
	if text == "" {
		return "0", nil
	}
	var days []string
	for _, word := range list(text) {
		found := false
		for d := time.Sunday; d <= time.Saturday; d++ {
			name := strings.ToLower(d.String())
			if len(word) >= 2 && strings.HasPrefix(name, strings.TrimSuffix(word, ".")) {
				days, found = append(days, strconv.Itoa(int(d))), true
				break
			}
		}
		if !found {
			return "", fmt.Errorf("%.20q is no day of the week", word)
		}
	}
	return strings.Join(days, ","), nil
}

// readDayOfMonth reads a day of the month. Those that not every month has are
// written as the last one.
func readDayOfMonth(text string) (dom string, last bool, err error) {
	text = strings.TrimPrefix(text, "the ")
	switch text {
	case "":
		return "1", false, nil
	case "last", "last day":
		return "28-31", true, nil
	}
	for _, suffix := range []string{"st", "nd", "rd", "th", "."} {
		text = strings.TrimSuffix(text, suffix)
	}
	n, err := strconv.ParseUint(text, 10, 8)
	switch {
	case err != nil || n < 1 || n > 31:
		return "", false, fmt.Errorf("%.20q is no day of the month", text)
	case n > 28:
		return "", false, fmt.Errorf("not every month has a day %d: write `monthly on last day`, or a cron expression", n)
	}
	return strconv.Itoa(int(n)), false, nil
}
