// The page of `bcdseg app`: a program on this computer predicts.

import { startPage } from "./page.js";
import { Server } from "./server.js";

startPage(Server.open());
