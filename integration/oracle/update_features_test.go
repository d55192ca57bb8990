package oracle

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// updateFeaturesScenario is about transaction.version, which clients ask for to know how to speak.
func updateFeaturesScenario() scenario {
	const name = "transaction.version"
	versions := func(c *client) *kmsg.ApiVersionsResponse {
		c.t.Helper()
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "oracle", "1"
		return do[*kmsg.ApiVersionsResponse](c, req)
	}
	show := func(c *client) {
		c.t.Helper()
		c.steps = append(c.steps, step{"transaction.version", finalized(versions(c))})
	}
	// update updates transaction.version, and shows it once the broker has heard of it.
	update := func(c *client, level int16, kind int8, changes ...func(*kmsg.UpdateFeaturesRequest)) {
		c.t.Helper()
		req := updateFeatures(featureUpdate(name, level))
		req.FeatureUpdates[0].UpgradeType = kind
		for _, change := range changes {
			change(req)
		}
		ask[*kmsg.UpdateFeaturesResponse](c, req)
		c.settle()
		show(c)
	}
	onlyValidate := func(req *kmsg.UpdateFeaturesRequest) { req.ValidateOnly = true }
	return scenario{name: "update_features", settings: transactionSettings, cases: []oneCase{
		{name: "levels", api: kmsg.UpdateFeatures, from: 1, run: func(c *client) {
			c.level(2)
			show(c)
			for _, level := range []int16{2, 1, 3, -1, 0} {
				update(c, level, upgrade)
			}
			update(c, 1, safeDowngrade)
			update(c, 2, safeDowngrade)
			update(c, 2, upgrade)
			update(c, 0, unsafeDowngrade)
			update(c, 0, safeDowngrade)
			update(c, -1, safeDowngrade)
			update(c, 2, upgrade)
		}},
		{name: "up, as old tools do it", api: kmsg.UpdateFeatures, to: 1, run: func(c *client) {
			c.level(1)
			for _, level := range []int16{3, -1, 0, 1, 2} {
				update(c, level, upgrade)
			}
		}},
		{name: "down, as old tools do it", api: kmsg.UpdateFeatures, to: 0, run: func(c *client) {
			c.level(2)
			update(c, 1, safeDowngrade, func(req *kmsg.UpdateFeaturesRequest) { req.FeatureUpdates[0].AllowDowngrade = true })
			c.level(2)
		}},
		{name: "only to validate", api: kmsg.UpdateFeatures, from: 1, run: func(c *client) {
			c.level(2)
			for _, level := range []int16{2, 1, 3} {
				update(c, level, upgrade, onlyValidate)
				update(c, level, safeDowngrade, onlyValidate)
			}
		}},
		{name: "kinds that there are not", api: kmsg.UpdateFeatures, from: 1, run: func(c *client) {
			c.level(2)
			for _, kind := range []int8{0, 4, -1} {
				update(c, 1, kind)
			}
		}},
		{name: "others", api: kmsg.UpdateFeatures, run: func(c *client) {
			c.level(1)
			for _, list := range [][]kmsg.UpdateFeaturesRequestFeatureUpdate{
				{}, {featureUpdate("", 1)}, {featureUpdate("unknown", 1)}, {featureUpdate("unknown", 0)},
				{featureUpdate(name, 2), featureUpdate("unknown", 1)}, {featureUpdate(name, 7), featureUpdate("unknown", 1)},
			} {
				ask[*kmsg.UpdateFeaturesResponse](c, updateFeatures(list...))
			}
			c.settle()
			show(c)
			c.level(2)
		}},
		{name: "what is told", api: kmsg.ApiVersions, from: 3, run: func(c *client) {
			for _, level := range []int16{2, 1, 0, 2} {
				c.level(level)
				c.show(kmsg.NewPtrApiVersionsRequest(), features(versions(c), name))
			}
		}},
	}}
}

// features leaves in an answer nothing but one feature.
func features(resp *kmsg.ApiVersionsResponse, name string) *kmsg.ApiVersionsResponse {
	resp.ApiKeys = nil
	if resp.SupportedFeatures = slices.DeleteFunc(resp.SupportedFeatures, func(f kmsg.ApiVersionsResponseSupportedFeature) bool { return f.Name != name }); len(resp.SupportedFeatures) == 0 {
		resp.SupportedFeatures = nil
	}
	if resp.FinalizedFeatures = slices.DeleteFunc(resp.FinalizedFeatures, func(f kmsg.ApiVersionsResponseFinalizedFeature) bool { return f.Name != name }); len(resp.FinalizedFeatures) == 0 {
		resp.FinalizedFeatures = nil
	}
	return resp
}
