// The page that a server sends.

import { server } from "./exchange.js";
import { start } from "./explorer.js";

start(server);
