package config

// maxNearestName bounds the names that are compared: the comparison costs the product of both lengths.
const maxNearestName = 100

// Nearest returns the name of the table that a mistyped name most likely stands for, or nothing if none is near.
func (t *Table) Nearest(name string) string {
	if len(name) == 0 || len(name) > maxNearestName {
		return ""
	}
	nearest, best := "", max(2, len(name)/6)+1
	for d := range t.All() {
		if distance := editDistance(name, d.Name); distance < best {
			nearest, best = d.Name, distance
		}
	}
	return nearest
}

// nearestTopic also maps a broker config to the topic config that it is the default of, and nearestBroker the other
// way: taking one for the other is the commonest mistake.
func nearestTopic(name string) string {
	for d := range Topic().All() {
		for _, synonym := range topicSynonyms(d.Name) {
			if synonym.name == name {
				return d.Name
			}
		}
	}
	return Topic().Nearest(name)
}

func nearestBroker(name string) string {
	if d, ok := Topic().Lookup(name); ok && d.BrokerName != "" {
		return d.BrokerName
	}
	return Broker().Nearest(name)
}

// editDistance counts the insertions, deletions, substitutions and swaps of neighbours that turn a into b (optimal
// string alignment).
func editDistance(a, b string) int {
	before, previous, current := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := range len(a) {
		current[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			current[j+1] = min(previous[j+1]+1, current[j]+1, previous[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				current[j+1] = min(current[j+1], before[j-1]+1)
			}
		}
		before, previous, current = previous, current, before
	}
	return previous[len(b)]
}
