package oracle

import "github.com/twmb/franz-go/pkg/kmsg"

func listConfigResourcesScenario() scenario {
	return scenario{name: "list_config_resources", cases: []oneCase{
		{name: "of some kinds", api: kmsg.ListConfigResources, run: func(c *client) {
			for _, kinds := range [][]int8{{2}, {4}, {8}, {16}, {32}, {4, 4}, {2, 3}, {0}, {-1}, nil} {
				req := kmsg.NewPtrListConfigResourcesRequest()
				req.ResourceTypes = kinds
				ask[*kmsg.ListConfigResourcesResponse](c, req)
			}
		}},
	}}
}
