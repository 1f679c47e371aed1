package service

import "strings"

// Closest returns the name that word was probably meant to be, "" where none is
// near: one that begins with word, else the one that the fewest slips lead to.
func Closest(word string, names []string) string {
	if len(word) > 100 {
		return "" // no slip, and slow to compare
	}
	best, least := "", 1+max(1, len(word)/3)
	for _, n := range names {
		if len(word) > 1 && strings.HasPrefix(n, word) {
			return n
		}
		if d := slips(strings.ToLower(word), n); d < least {
			best, least = n, d
		}
	}
	return best
}

// slips counts the letters to insert, drop, replace or swap with a neighbour
// that make b of a (the distance of Damerau and Levenshtein, where no
// letter is edited twice).
func slips(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			rows[i][j] = min(replace, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
