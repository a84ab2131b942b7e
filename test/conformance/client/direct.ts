/** The client that the suite starts: it plays the scenario at the scenario's own server. */

import { visit } from "./scenarios.ts";
import { sceneOf } from "./scene.ts";

const { scenario, url, scene } = sceneOf(process);
await visit(scenario, { url, accessToken: null }, scene);
