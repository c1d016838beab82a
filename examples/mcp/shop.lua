-- Asks an MCP server for each item that the user names, and has it put what is missing on its list.
--   baleen run examples/mcp/shop.lua --config examples/mcp/baleen.toml --allow 'pantry_*' --input "flour, eggs"
-- Without --allow each call waits for leave: tools from outside are asked about.
return function(message)
  local said = {}
  for item in message:gmatch("[^,]+") do
    item = item:match("^%s*(.-)%s*$")
    local content, outcome = baleen.call("pantry_stock", { item = item })
    if outcome == "OK" and content:match("^0 ") then
      content, outcome = baleen.call("pantry_buy", { item = item })
    end
    said[#said + 1] = outcome == "OK" and content or item .. ": " .. outcome .. " " .. content
  end
  return table.concat(said, "; ")
end
