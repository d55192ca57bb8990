package config

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/magiconair/properties"
)

// maxPropertiesBytes bounds a properties file. Real ones have a few kilobytes.
const maxPropertiesBytes = 4 << 20

// ReadProperties reads a Java properties file, such as Kafka's server.properties; name is what messages call it.
// Values are taken as they stand: ${...} is not expanded. A file is read as UTF-8, or as ISO 8859-1, which is what
// Java takes every such file for, if it is not valid UTF-8. Of two lines with the same name the later one counts.
func ReadProperties(r io.Reader, name string) ([]Setting, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxPropertiesBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxPropertiesBytes {
		return nil, fmt.Errorf("read %s: it is longer than %d bytes, so it cannot be a properties file", name, maxPropertiesBytes)
	}
	loader := properties.Loader{Encoding: properties.UTF8, DisableExpansion: true}
	if !utf8.Valid(data) {
		loader.Encoding = properties.ISO_8859_1
	}
	// A line may end in CR LF, also behind a backslash that continues it, which the parser would take for two ends.
	parsed, err := loader.LoadBytes(bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	settings := make([]Setting, 0, parsed.Len())
	for _, key := range parsed.Keys() {
		value, _ := parsed.Get(key)
		settings = append(settings, Setting{Name: key, Value: value, Place: name})
	}
	return settings, nil
}

// ReadOverrides reads settings of the form name=value, as they follow --override.
func ReadOverrides(overrides []string) ([]Setting, error) {
	settings := make([]Setting, 0, len(overrides))
	for _, text := range overrides {
		name, value, ok := strings.Cut(text, "=")
		if name = javaTrim(name); !ok || name == "" {
			return nil, fmt.Errorf("--override %q is not of the form name=value", shorten(text))
		}
		settings = append(settings, Setting{Name: name, Value: value, Place: "--override"})
	}
	return settings, nil
}
