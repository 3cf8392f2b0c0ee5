// The page that `bcdseg app --static` writes: the browser itself predicts.

import { startPage } from "../page.js";
import { Browser } from "./browser.js";

startPage(Browser.open());
