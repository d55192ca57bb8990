package catalog

import (
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Feature is a protocol whose version all of a cluster agrees upon (KIP-584).
type Feature struct {
	Name     string
	Min, Max int16 // the versions that there are; 0 is that of a cluster that has not agreed upon any
	Default  int16 // of a cluster that was never told otherwise
}

// TransactionVersion says which protocol producers with transactional ids speak: version 2 raises a producer's epoch at the end
// of each transaction and has the broker add partitions (KIP-890).
const TransactionVersion = "transaction.version"

// Features are those that there are, in the order of their names.
func Features() []Feature {
	return []Feature{{Name: TransactionVersion, Min: 0, Max: 2, Default: 2}}
}

// FeatureNamed returns the feature of a name.
func FeatureNamed(name string) (Feature, bool) {
	all := Features()
	i := slices.IndexFunc(all, func(f Feature) bool { return f.Name == name })
	if i < 0 {
		return Feature{}, false
	}
	return all[i], true
}

// FeatureLevel returns the version of a feature that the cluster has agreed upon; 0 for one that there is not.
func (i *Image) FeatureLevel(name string) int16 {
	if level, set := i.features[name]; set {
		return level
	}
	f, _ := FeatureNamed(name)
	return f.Default
}

// SetFeatures returns the versions of features that were set. It must not be changed.
func (i *Image) SetFeatures() map[string]int16 { return i.features }

// SetFeature sets the version of a feature.
type SetFeature struct {
	Name  string
	Level int16
}

func (c SetFeature) apply(e *edit) error {
	f, known := FeatureNamed(c.Name)
	switch {
	case !known:
		return fmt.Errorf("set feature: there is no feature %.40q: %w", c.Name, kerr.InvalidUpdateVersion)
	case c.Level < f.Min || c.Level > f.Max:
		return fmt.Errorf("set feature: %s cannot have version %d, allowed are %d to %d: %w", c.Name, c.Level, f.Min, f.Max, kerr.InvalidUpdateVersion)
	}
	features := maps.Clone(e.image.features)
	if features == nil {
		features = map[string]int16{}
	}
	features[c.Name] = c.Level
	e.image.features = features
	return nil
}
